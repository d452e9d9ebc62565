/** The inputs of a run, from a text file or a table, each with its line. */
import { UsageError } from '../errors';
import { TableError } from '../prompts/errors';
import { columnIndex, inputsFrom } from '../prompts/pick';
import { guessColumns, parseTable, type Table, type TableOptions } from '../prompts/table';
import { type Command, oneOf } from './options';
import { readSource } from './source';

/** A table of this size holds more inputs than a machine answers in a day. */
const MAX_TABLE_BYTES = 64 * 1024 * 1024;

export interface InputRow {
  readonly line: number;
  readonly input: string;
  /** The row of its table. */
  readonly cells: readonly string[];
}

export interface Inputs {
  /** As the file was named. */
  readonly name: string;
  readonly rows: readonly InputRow[];
  /** Names of the table's columns; undefined for lines and for a whole file. */
  readonly columns?: readonly string[];
  /** Sentences about the rows that were left out or look odd. */
  readonly notes: readonly string[];
}

/** @throws SourceError, TableError, UsageError (no such column) */
export function readInputs(file: string, command: Command): Inputs {
  const source = readSource(file, MAX_TABLE_BYTES);
  const { name, firstLine } = source;
  if (command.has('whole')) return { name, rows: [{ line: firstLine, input: source.text, cells: [] }], notes: [] };
  const format = oneOf(command, 'format', ['csv', 'tsv', 'jsonl', 'json', 'markdown', 'lines'] as const);
  const header = command.has('header') ? true : command.has('no-header') ? false : undefined;
  const table = tableOf(source.text, {
    fileName: name,
    ...(format === undefined ? {} : { format }),
    ...(header === undefined ? {} : { header }),
  });
  const column = columnOf(table, command.value('column'), name);
  const { picked, skipped } = inputsFrom(table, column);
  const cells = new Map(table.rows.map((row) => [row.line, row.cells]));
  const rows = picked.map(({ line, text }) => ({
    line: line + firstLine - 1,
    input: text,
    cells: cells.get(line) ?? [],
  }));
  if (rows.length === 0)
    throw new UsageError(`${name} has no input under '${table.columns[column]}'. Choose another with --column.`);
  const problems = [...table.problems, ...skipped];
  const notes = problems.slice(0, 5).map(({ message }) => `${name}: ${message}`);
  if (problems.length > 5) notes.push(`${name}: ${problems.length - 5} more rows like these.`);
  if (table.format === 'lines') return { name, rows, notes };
  return { name, rows, columns: table.columns, notes };
}

function tableOf(text: string, options: TableOptions & { readonly fileName: string }): Table {
  try {
    return parseTable(text, options);
  } catch (error) {
    if (!(error instanceof TableError)) throw error;
    throw new TableError(error.line, error.why, options.fileName);
  }
}

function columnOf(table: Table, asked: string | undefined, name: string): number {
  if (table.columns.length === 0) throw new UsageError(`${name} is a table without rows.`);
  if (asked === undefined) return guessColumns(table).input;
  const found = columnIndex(table, asked);
  if (found !== undefined) return found;
  throw new UsageError(`${name} has no column '${asked}'. It has: ${table.columns.join(', ')}.`);
}
