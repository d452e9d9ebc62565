/** CSV and TSV: cells between delimiters, some of them in quotes. */
import { CsvError, type Info, parse } from 'csv-parse/sync';
import { type Saying, say } from '../saying';
import { TableError } from './errors';
import type { Row } from './table';

/** How often a delimiter stands outside of quotes. */
export function delimitersIn(line: string, delimiter: string): number {
  return line.replaceAll(/"(?:[^"]|"")*"/g, '').split(delimiter).length - 1;
}

/** Rows of CSV (with commas or semicolons) and TSV. @throws TableError */
export function delimitedRows(text: string, format: 'csv' | 'tsv'): Row[] {
  if (format === 'csv') {
    const [first = ''] = text.split(/\r?\n/, 1);
    // Where a comma is the decimal sign, spreadsheets write semicolons.
    const delimiter = delimitersIn(first, ';') > delimitersIn(first, ',') ? ';' : ',';
    return csvRows(text, delimiter, '"');
  }
  try {
    return csvRows(text, '\t', '"');
  } catch (error) {
    // Spreadsheets quote cells with line breaks; most other programs quote nothing, and a quote is a quote.
    if (error instanceof TableError) return csvRows(text, '\t', false);
    throw error;
  }
}

function csvRows(text: string, delimiter: string, quote: '"' | false): Row[] {
  try {
    const records = parse(text, {
      delimiter,
      quote,
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
    }) as unknown as { readonly record: readonly string[]; readonly info: Info }[];
    return records.map(({ record, info }) => {
      // The library counts up to the end of a record, which may have line breaks in its cells.
      const inside = record.reduce((sum, cell) => sum + cell.split('\n').length - 1, 0);
      return { line: info.lines - inside, cells: record };
    });
  } catch (error) {
    if (!(error instanceof CsvError)) throw error;
    const { lines = 1 } = error as CsvError & { readonly lines?: number };
    // The library knows only that the text has come to its end by then.
    const line = error.code === 'CSV_QUOTE_NOT_CLOSED' ? openQuoteLine(text, delimiter) : lines;
    throw new TableError(line, csvReason(error));
  }
}

/** The line of the last quote that opens a cell and is never closed. */
function openQuoteLine(text: string, delimiter: string): number {
  let line = 1;
  let opened = 0;
  for (let at = 0; at < text.length; at++) {
    const char = text.charAt(at);
    if (char === '\n') line++;
    if (char !== '"') continue;
    if (opened > 0) {
      if (text.charAt(at + 1) === '"') at++;
      else opened = 0;
    } else if (at === 0 || text.charAt(at - 1) === delimiter || text.charAt(at - 1) === '\n') opened = line;
  }
  return opened || line;
}

function csvReason(error: CsvError): Saying {
  switch (error.code) {
    case 'CSV_QUOTE_NOT_CLOSED':
      return say(
        'A quote that was opened is not closed until the end of the text. Close it, or double it if it belongs to the text.',
      );
    case 'CSV_INVALID_CLOSING_QUOTE':
    case 'CSV_NON_TRIMABLE_CHAR_AFTER_CLOSING_QUOTE':
      return say(
        'After a closing quote there is more text before the next delimiter. Double the quotes that belong to the text.',
      );
    case 'INVALID_OPENING_QUOTE' as CsvError['code']:
      return say(
        'A quote stands inside a cell that does not begin with one. Put the whole cell in quotes and double those inside.',
      );
    default:
      return say('The table cannot be read: {0}', error.message);
  }
}
