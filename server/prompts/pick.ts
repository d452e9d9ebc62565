/** From the rows of a table to examples and inputs. A row that lacks something is named, never left out silently. */
import type { Example } from './set';
import type { RowProblem, Table } from './table';

export interface Input {
  /** 1-based line of the file. */
  readonly line: number;
  readonly text: string;
}

export interface Picked<T> {
  readonly picked: readonly T[];
  /** Rows that were left out, and why. */
  readonly skipped: readonly RowProblem[];
}

/** @param columns indices into `table.columns` */
export function examplesFrom(
  table: Table,
  columns: { readonly input: number; readonly output: number },
): Picked<Example> {
  return pick(table, (cells) => {
    const input = cells[columns.input]?.trim() ?? '';
    const output = cells[columns.output]?.trim() ?? '';
    if (input === '') return { missing: table.columns[columns.input] };
    return output === '' ? { missing: table.columns[columns.output] } : { value: { input, output } };
  });
}

/** @param column index into `table.columns` */
export function inputsFrom(table: Table, column: number): Picked<Input> {
  return pick(table, (cells, line) => {
    const text = cells[column] ?? '';
    return text.trim() === '' ? { missing: table.columns[column] } : { value: { line, text } };
  });
}

type Taken<T> = { readonly value: T } | { readonly missing: string | undefined };

function pick<T>(table: Table, take: (cells: readonly string[], line: number) => Taken<T>): Picked<T> {
  const picked: T[] = [];
  const skipped: RowProblem[] = [];
  for (const { line, cells } of table.rows) {
    const taken = take(cells, line);
    if ('value' in taken) picked.push(taken.value);
    else skipped.push({ line, message: `Line ${line} has nothing under '${taken.missing ?? ''}'.` });
  }
  return { picked, skipped };
}

/**
 * The index of a column that was named: by its name (case aside), or by its number from 1 where no column has that name.
 * undefined: there is none.
 */
export function columnIndex(table: Pick<Table, 'columns'>, name: string): number | undefined {
  const wanted = name.trim().toLowerCase();
  const exact = table.columns.indexOf(name);
  const at = exact >= 0 ? exact : table.columns.findIndex((column) => column.trim().toLowerCase() === wanted);
  if (at >= 0) return at;
  const number = /^\d+$/.test(wanted) ? Number(wanted) : 0;
  return number >= 1 && number <= table.columns.length ? number - 1 : undefined;
}
