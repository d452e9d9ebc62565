/** Tables of Markdown pages: `| a | b |`, a row of dashes, and rows. */
import type { Row } from './table';

const DASHES = /^\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*$/;

/** `lines`: without blank ones. */
export function isMarkdownTable(lines: readonly string[]): boolean {
  const [head, dashes] = lines;
  return head?.includes('|') === true && dashes?.includes('|') === true && DASHES.test(dashes);
}

/** The header first, then the rows; the row of dashes is left away. `<br>` and `\|` are what they stand for. */
export function markdownRows(text: string): Row[] {
  const rows: Row[] = [];
  for (const [at, line] of text.split(/\r?\n/).entries()) {
    if (!line.includes('|') || (rows.length === 1 && DASHES.test(line))) continue;
    rows.push({ line: at + 1, cells: cellsOf(line) });
  }
  return rows;
}

function cellsOf(line: string): string[] {
  const inner = line
    .trim()
    .replace(/^\|/, '')
    .replace(/(?<!\\)\|$/, '');
  return inner.split(/(?<!\\)\|/).map((cell) =>
    cell
      .trim()
      .replaceAll('\\|', '|')
      .replaceAll(/<br\s*\/?>/gi, '\n'),
  );
}
