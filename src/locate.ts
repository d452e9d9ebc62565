/** Finds a text again in a file that may have changed since. Pure. */
import { endOf, type Place, type Span } from './span';

/** A text as it is kept: whole, or its beginning and end when it is long. */
export interface Excerpt {
  readonly head: string;
  /** Absent: `head` is the whole text. */
  readonly tail?: string;
}

export interface Found extends Span {
  /** The very text, not one that has been edited. */
  readonly exact: boolean;
}

/** Longer texts are kept by so many characters of either end. */
const MOST_KEPT = 16_000;
const END_KEPT = 4000;

export function excerptOf(text: string): Excerpt {
  if (text.length <= MOST_KEPT) return { head: text };
  return { head: text.slice(0, END_KEPT), tail: text.slice(-END_KEPT) };
}

/**
 * Where `excerpt` is in `document`: the very text, of several places the one nearest to line `near`; else the lines that
 * have most in common with it, if that is at least half of them.
 */
export function locate(document: string, excerpt: Excerpt, near: number): Found | undefined {
  const text = unified(document);
  const head = unified(excerpt.head);
  if (head.trim() === '') return undefined;
  return (
    exactly(text, head, excerpt.tail === undefined ? undefined : unified(excerpt.tail), near) ??
    nearly(text, head, near)
  );
}

function unified(text: string): string {
  return text.replace(/\r\n?/g, '\n');
}

function exactly(text: string, head: string, tail: string | undefined, near: number): Found | undefined {
  let best: Found | undefined;
  for (let at = text.indexOf(head); at >= 0; at = text.indexOf(head, at + 1)) {
    const start = placeAt(text, at);
    if (best !== undefined && Math.abs(start.line - near) >= Math.abs(best.start.line - near)) {
      // Occurrences come in order: from here on they are only farther away.
      if (start.line > near) break;
      continue;
    }
    if (tail === undefined) {
      best = { start, end: endOf(start, head), exact: true };
      continue;
    }
    const tailAt = text.indexOf(tail, at);
    if (tailAt >= 0) best = { start, end: placeAt(text, tailAt + tail.length), exact: true };
  }
  return best;
}

function placeAt(text: string, offset: number): Place {
  let line = 0;
  let lineStart = 0;
  for (let at = text.indexOf('\n'); at >= 0 && at < offset; at = text.indexOf('\n', at + 1)) {
    line += 1;
    lineStart = at + 1;
  }
  return { line, character: offset - lineStart };
}

/** Lines as short as a bracket are in every file, and say nothing about where a text is. */
const TELLING_LENGTH = 4;

/** A line that matches votes for the place where the text would begin; the place with most votes around it wins. */
function nearly(text: string, wanted: string, near: number): Found | undefined {
  const lines = text.split('\n');
  const wantedLines = wanted.split('\n').map((line) => line.trim());
  const telling = wantedLines.filter((line) => line.length >= TELLING_LENGTH);
  if (telling.length < 2) return undefined;

  // By the lines that are wanted, which are few: the document may have a million characters.
  const places = new Map<string, number[]>();
  for (const [of, line] of wantedLines.entries()) {
    if (line.length < TELLING_LENGTH) continue;
    const known = places.get(line);
    if (known === undefined) places.set(line, [of]);
    else known.push(of);
  }
  const votes: { readonly line: number; readonly start: number; readonly of: number }[] = [];
  for (const [number, line] of lines.entries()) {
    for (const of of places.get(line.trim()) ?? []) votes.push({ line: number, start: number - of, of });
  }
  const counts = new Map<number, number>();
  for (const { start } of votes) counts.set(start, (counts.get(start) ?? 0) + 1);
  let best: number | undefined;
  for (const [start, count] of counts) {
    const most = best === undefined ? 0 : (counts.get(best) ?? 0);
    const nearer = best !== undefined && Math.abs(start - near) < Math.abs(best - near);
    if (count > most || (count === most && nearer)) best = start;
  }
  if (best === undefined) return undefined;

  // Lines put in or taken out shift the later votes a little.
  const drift = Math.max(3, Math.floor(wantedLines.length / 2));
  const close = votes.filter(({ start }) => Math.abs(start - (best ?? 0)) <= drift);
  const matched = new Set(close.map(({ of }) => of));
  if (matched.size * 2 < telling.length) return undefined;
  const from = Math.min(...close.map(({ line }) => line));
  const to = Math.max(...close.map(({ line }) => line));
  return { start: { line: from, character: 0 }, end: { line: to, character: (lines[to] ?? '').length }, exact: false };
}
