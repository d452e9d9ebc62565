/**
 * Tables of texts: files (CSV, TSV, JSON lines, plain lines) and what is pasted from a spreadsheet or a Markdown page. A
 * text that cannot be read at all is a TableError; a row that does not look like the others is kept, and told of.
 */
import { say } from '../saying';
import { delimitedRows, delimitersIn } from './csv';
import { TableError } from './errors';
import { JsonError, parseJson } from './json';
import { isMarkdownTable, markdownRows } from './markdown';

/** `lines`: every line that is not blank is a row of one cell. */
export type TableFormat = 'csv' | 'tsv' | 'jsonl' | 'json' | 'markdown' | 'lines';

export interface Row {
  /** 1-based line of the text at which the row begins. */
  readonly line: number;
  /** May be fewer or more than there are columns. */
  readonly cells: readonly string[];
}

export interface RowProblem {
  readonly line: number;
  readonly message: string;
}

export interface Table {
  readonly format: TableFormat;
  /** The names of the columns came from the text; otherwise they are `column 1`, `column 2` … */
  readonly header: boolean;
  readonly columns: readonly string[];
  readonly rows: readonly Row[];
  readonly problems: readonly RowProblem[];
}

export interface TableOptions {
  /** Found from the file's name and the text when absent. */
  readonly format?: TableFormat;
  /** Whether the first row names the columns; found from the text when absent. Only for CSV and TSV. */
  readonly header?: boolean;
  /** For its ending only. */
  readonly fileName?: string;
}

/** More rows than a machine answers in a day are a mistake, and would fill the memory of an editor. */
export const MAX_ROWS = 100_000;

/** What a text is shows in its first lines; it may have tens of megabytes. */
const SAMPLE_CHARS = 200_000;

const BY_ENDING: ReadonlyMap<string, TableFormat> = new Map([
  ['csv', 'csv'],
  ['tsv', 'tsv'],
  ['tab', 'tsv'],
  ['jsonl', 'jsonl'],
  ['ndjson', 'jsonl'],
  ['json', 'json'],
]);

/** @throws TableError */
export function parseTable(text: string, options: TableOptions = {}): Table {
  // The library counts `\r\n` inside of quotes as two lines.
  const source = text.replace(/^\ufeff/, '').replaceAll(/\r\n?/g, '\n');
  const format = options.format ?? formatOf(source, options.fileName);
  const table = read(source, format, options.header);
  if (table.rows.length > MAX_ROWS)
    throw new TableError(1, say('There are more than {0} rows: split the table.', MAX_ROWS));
  const width = table.columns.length;
  const problems = table.rows.flatMap(({ line, cells }) => {
    // Objects may lack fields by right, and what is missing at the end of a spreadsheet's row is an empty cell.
    if (cells.length === width || (cells.length < width && format !== 'csv')) return [];
    return [{ line, message: `Line ${line} has ${cells.length} cells where the table has ${width} columns.` }];
  });
  return { ...table, format, problems };
}

/** By the file's ending, and without one by what the text looks like. */
export function formatOf(text: string, fileName?: string): TableFormat {
  const known = BY_ENDING.get(/\.(\w+)$/.exec(fileName ?? '')?.[1]?.toLowerCase() ?? '');
  if (known !== undefined) return known;
  // What stands in quotes may have delimiters and line breaks of its own.
  const bare = text.slice(0, SAMPLE_CHARS).replaceAll(/(^|[\t,;\n])"(?:[^"]|"")*"/g, '$1');
  const lines = bare.split(/\r?\n/).filter((line) => line.trim() !== '');
  const sample = lines.slice(0, 20);
  const [first = ''] = sample;
  if (isMarkdownTable(lines)) return 'markdown';
  // A named text file is lines, commas or not; what was pasted may be anything.
  if (fileName !== undefined && /\.\w+$/.test(fileName) && !/\.md$/i.test(fileName)) return 'lines';
  if (/^\s*\{.*\}\s*$/.test(first)) return 'jsonl';
  if (/^\s*\[\s*[{["\]]?/.test(first) && /\]\s*$/.test(text)) return 'json';
  if (sample.length > 0 && sample.every((line) => line.includes('\t'))) return 'tsv';
  // Prose has commas, too: a table has the same number of them in every line, and more than one line.
  const counts = new Set(sample.map((line) => delimitersIn(line, ',')));
  return sample.length > 1 && counts.size === 1 && !counts.has(0) ? 'csv' : 'lines';
}

function read(text: string, format: TableFormat, header: boolean | undefined): Omit<Table, 'format' | 'problems'> {
  switch (format) {
    case 'csv':
    case 'tsv':
      return named(delimitedRows(text, format), header);
    case 'jsonl':
      return fromValues(jsonLines(text));
    case 'json':
      return fromValues(jsonArray(text));
    case 'markdown': {
      const [head, ...rows] = markdownRows(text);
      const names = head?.cells ?? [];
      // Markdown demands a header row; people leave it empty when they have no names.
      const has = names.some((name) => name !== '');
      return { header: has, columns: has ? namesOf(names) : numbered(names.length), rows };
    }
    case 'lines': {
      const lines = text.split(/\r?\n/);
      const rows = lines.flatMap((cell, at) => (cell.trim() === '' ? [] : [{ line: at + 1, cells: [cell] }]));
      return { header: false, columns: ['line'], rows };
    }
  }
}

function named(rows: readonly Row[], header: boolean | undefined): Omit<Table, 'format' | 'problems'> {
  const [first, ...rest] = rows;
  const width = first?.cells.length ?? 0;
  if (first === undefined || !(header ?? looksLikeHeader(first.cells, rest))) {
    return { header: false, columns: numbered(width), rows };
  }
  return { header: true, columns: namesOf(first.cells), rows: rest };
}

/** What people call the columns of such tables. */
const INPUT_NAMES = ['input', 'text', 'question', 'query', 'prompt', 'source', 'sentence', 'message', 'line', 'review'];
const OUTPUT_NAMES = ['output', 'label', 'answer', 'target', 'completion', 'response', 'category', 'class', 'result'];
const MAX_HEADER_CHARS = 40;

/**
 * The first row is a header if it has a name that such columns go by, or if a column is numbers but for its first cell;
 * in any case its cells are short, different, and not empty.
 */
function looksLikeHeader(cells: readonly string[], rest: readonly Row[]): boolean {
  const names = cells.map((cell) => cell.trim().toLowerCase());
  if (rest.length === 0 || new Set(names).size < names.length) return false;
  if (names.some((name) => name === '' || name.length > MAX_HEADER_CHARS || isNumber(name))) return false;
  if (names.some((name) => [...INPUT_NAMES, ...OUTPUT_NAMES, 'id'].includes(name))) return true;
  return cells.some((_, column) => rest.every((row) => isNumber(row.cells[column] ?? '')));
}

function isNumber(text: string): boolean {
  return text.trim() !== '' && Number.isFinite(Number(text));
}

/** Which columns are probably meant: by their names, otherwise the first and the one after it. */
export function guessColumns(table: Pick<Table, 'columns'>): { readonly input: number; readonly output?: number } {
  const names = table.columns.map((name) => name.trim().toLowerCase());
  const find = (known: readonly string[]) => known.map((name) => names.indexOf(name)).find((at) => at >= 0);
  const output = find(OUTPUT_NAMES);
  const input = find(INPUT_NAMES) ?? (output === 0 && names.length > 1 ? 1 : 0);
  const beside = output ?? names.findIndex((_, at) => at !== input);
  return beside < 0 || beside === input ? { input } : { input, output: beside };
}

function jsonLines(text: string): Value[] {
  return text.split(/\r?\n/).flatMap((line, at) => {
    if (line.trim() === '') return [];
    try {
      return [{ line: at + 1, value: parseJson(line).value }];
    } catch (error) {
      if (error instanceof JsonError) throw new TableError(at + 1, error.why);
      throw error;
    }
  });
}

function jsonArray(text: string): Value[] {
  try {
    const { value, lineOf } = parseJson(text);
    if (!Array.isArray(value)) throw new TableError(1, say('The file is no list of rows: [ … ].'));
    return value.map((item: unknown, at) => ({ line: lineOf([at]), value: item }));
  } catch (error) {
    if (error instanceof JsonError) throw new TableError(error.line, error.why);
    throw error;
  }
}

interface Value {
  readonly line: number;
  readonly value: unknown;
}

/** Objects by the names of their fields, arrays by position, single values as one column. */
function fromValues(values: readonly Value[]): Omit<Table, 'format' | 'problems'> {
  const names = new Set<string>();
  let width = 0;
  for (const { line, value } of values) {
    if (Array.isArray(value)) width = Math.max(width, value.length);
    else if (typeof value === 'object' && value !== null) for (const name of Object.keys(value)) names.add(name);
    else if (value === null) throw new TableError(line, say('The row is null.'));
    else width = Math.max(width, 1);
    if (width > 0 && names.size > 0) throw new TableError(line, say('Some rows are objects and others are not.'));
  }
  const columns = names.size > 0 ? [...names] : numbered(width);
  const rows = values.map(({ line, value }) => {
    if (Array.isArray(value)) return { line, cells: value.map(asCell) };
    if (typeof value !== 'object' || value === null) return { line, cells: [asCell(value)] };
    const fields = value as Readonly<Record<string, unknown>>;
    return { line, cells: columns.map((name) => asCell(fields[name])) };
  });
  return { header: names.size > 0, columns, rows };
}

function asCell(value: unknown): string {
  if (value === undefined || value === null) return '';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}

function numbered(count: number): string[] {
  return Array.from({ length: count }, (_, at) => `column ${at + 1}`);
}

/** Columns without a name are numbered; the second of two of one name gets its number. */
function namesOf(cells: readonly string[]): string[] {
  const names: string[] = [];
  for (const [at, cell] of cells.entries()) {
    const name = cell.trim() === '' ? `column ${at + 1}` : cell.trim();
    names.push(names.includes(name) ? `${name} (${at + 1})` : name);
  }
  return names;
}
