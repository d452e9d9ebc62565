/** An answer as a comment of a programming language. Pure. */

export interface CommentSyntax {
  readonly line?: string;
  readonly block?: readonly [open: string, close: string];
}

export interface Layout {
  /** The white space in front of every line. */
  readonly indent: string;
  /** Lines are broken before this column, where words allow. */
  readonly columns: number;
  readonly tabSize: number;
}

/** Narrower than this, a comment would be a column of single words. */
const FEWEST_COLUMNS = 30;

/**
 * The lines of a comment that says `text`, each with its indentation, without a line break at the end. Line comments where
 * the language has them, else one block comment.
 */
export function commentLines(text: string, { line, block }: CommentSyntax, layout: Layout): string[] {
  const { indent, columns } = layout;
  const room = (used: number): number => Math.max(FEWEST_COLUMNS, columns - widthOf(indent, layout.tabSize) - used);
  if (line !== undefined) {
    return wrapped(text, room(line.length + 1)).map((words) => `${indent}${line}${words === '' ? '' : ` ${words}`}`);
  }
  if (block === undefined) return [];
  const [open, close] = block;
  // A comment must not be ended by what it says.
  const safe = text.replaceAll(close, [...close].join(' '));
  const lines = wrapped(safe, room(0));
  const only = lines[0] ?? '';
  if (lines.length === 1 && only.length + open.length + close.length + 2 <= room(0)) {
    return [`${indent}${open} ${only} ${close}`];
  }
  return [open, ...lines, close].map((each) => (each === '' ? '' : `${indent}${each}`));
}

/** Breaks every line of `text` at spaces, and after any wide character, so that it takes at most `columns`. */
export function wrapped(text: string, columns: number): string[] {
  return text
    .trim()
    .split(/\r\n|\r|\n/)
    .flatMap((line) => wrapLine(line.trim(), columns));
}

function wrapLine(line: string, columns: number): string[] {
  const lines: string[] = [];
  let current = '';
  let width = 0;
  // A piece is a word with the space before it, or one wide character: those may be parted anywhere.
  for (const piece of line.match(
    /\s*(?:[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60]|[^\s\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60]+)/g,
  ) ?? []) {
    const added = widthOf(piece, 1);
    if (width > 0 && width + added > columns) {
      lines.push(current);
      current = piece.trimStart();
      width = widthOf(current, 1);
    } else {
      current += piece;
      width += added;
    }
  }
  return [...lines, current];
}

/** Columns that `text` takes: Chinese, Japanese and Korean characters take two. */
export function widthOf(text: string, tabSize: number): number {
  let width = 0;
  for (const char of text) {
    if (char === '\t') width += tabSize - (width % tabSize);
    else width += WIDE.test(char) ? 2 : 1;
  }
  return width;
}

const WIDE = /[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uff60]/;

/** First lines that must stay first: `#!`, XML's and PHP's openings, a document type. */
const MUST_BE_FIRST = /^(?:\ufeff)?(?:#!|<\?(?:xml|php)|<!doctype)/i;

/** The line above which a comment about `line` goes. */
export function insertionLine(line: number, firstLine: string): number {
  return line === 0 && MUST_BE_FIRST.test(firstLine) ? 1 : line;
}
