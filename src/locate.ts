/**
 * Finds a text again in a document that may have changed since. Line by line, from its old place outwards, and in turns:
 * a document of a million characters must not hold up whatever else runs in the process. No `vscode`.
 */
import { compare, type Place, type Span } from './span';
import { immediate, Turns } from './turns';

/** A text as it is kept: whole, or its beginning and end when it is long. */
export interface Excerpt {
  readonly head: string;
  /** Absent: `head` is the whole text. */
  readonly tail?: string;
}

/** A document; `vscode.TextDocument` fits as it is. */
export interface Lines {
  readonly lineCount: number;
  /** Another one after every edit. */
  readonly version: number;
  /** Without its line break. */
  lineAt(line: number): { readonly text: string };
}

export interface Found extends Span {
  /** The very text, not one that has been edited. */
  readonly exact: boolean;
}

/** A line takes as long as so many characters of it, at least while the code is new. */
const LINE_CHARACTERS = 40;

/** Longer texts are kept by so many characters of either end. */
const MOST_KEPT = 16_000;
const END_KEPT = 4000;

export function excerptOf(text: string): Excerpt {
  if (text.length <= MOST_KEPT) return { head: text };
  return { head: text.slice(0, END_KEPT), tail: text.slice(-END_KEPT) };
}

export interface Search {
  /** Asked between two turns; true ends the search, which then finds nothing. */
  readonly cancelled?: () => boolean;
  /** Characters of one turn. */
  readonly portion?: number;
}

/**
 * Where `excerpt` is in `document`: the very text, of several places the one nearest to line `near`; else the lines that
 * have most in common with it, if that is at least half of them. Begins again when the document changes meanwhile.
 */
export async function locate(
  document: Lines,
  excerpt: Excerpt,
  near: number,
  { cancelled = () => false, portion }: Search = {},
): Promise<Found | undefined> {
  const head = linesOf(excerpt.head);
  if (head.every((line) => line.trim() === '')) return undefined;
  const tail = excerpt.tail === undefined ? undefined : linesOf(excerpt.tail);
  while (!cancelled()) {
    const { version } = document;
    const turns = new Turns(portion, async () => {
      await immediate();
      if (cancelled() || document.version !== version) throw new Overtaken();
    });
    try {
      return (await exactly(document, head, tail, near, turns)) ?? (await roughly(document, head, tail, near, turns));
    } catch (error) {
      if (!(error instanceof Overtaken)) throw error;
    }
  }
  return undefined;
}

/** The document is no longer the one that was being searched, or nobody waits any more. */
class Overtaken extends Error {}

function linesOf(text: string): string[] {
  return text.split(/\r\n|\r|\n/);
}

async function exactly(
  document: Lines,
  head: readonly string[],
  tail: readonly string[] | undefined,
  near: number,
  turns: Turns,
): Promise<Found | undefined> {
  const tails = tail === undefined ? undefined : new Tails(document, tail, turns);
  const { lineCount } = document;
  const last = lineCount - 1;
  const middle = Math.max(0, Math.min(near, last));
  for (let distance = 0; distance <= Math.max(middle, last - middle); distance++) {
    for (const line of distance === 0 ? [middle] : [middle - distance, middle + distance]) {
      if (line < 0 || line > last) continue;
      const { text } = document.lineAt(line);
      if (turns.over(text.length + LINE_CHARACTERS)) await turns.next();
      const start = { line, character: startIn(text, head) };
      if (start.character < 0 || !(await goesOn(document, head, line, turns))) continue;
      const end = tails === undefined ? endAt(start, head) : await tails.after(start);
      if (end !== undefined) return { start, end, exact: true };
    }
  }
  return undefined;
}

/** Where in a line a text would begin, by the first line of the text; negative: it does not. */
function startIn(line: string, wanted: readonly string[], from = 0): number {
  const [first = ''] = wanted;
  if (wanted.length === 1) return line.indexOf(first, from);
  const at = line.length - first.length;
  return at >= from && line.endsWith(first) ? at : -1;
}

/** Whether the lines below `line` are those of `wanted` after its first. */
async function goesOn(document: Lines, wanted: readonly string[], line: number, turns: Turns): Promise<boolean> {
  if (line + wanted.length > document.lineCount) return false;
  for (let i = 1; i < wanted.length; i++) {
    const { text } = document.lineAt(line + i);
    const is = wanted[i] ?? '';
    if (turns.over(is.length + LINE_CHARACTERS)) await turns.next();
    if (i === wanted.length - 1 ? !text.startsWith(is) : text !== is) return false;
  }
  return true;
}

function endAt({ line, character }: Place, wanted: readonly string[]): Place {
  const length = wanted[wanted.length - 1]?.length ?? 0;
  return wanted.length === 1
    ? { line, character: character + length }
    : { line: line + wanted.length - 1, character: length };
}

/** The places where the kept end of a long text ends. */
class Tails {
  private readonly document: Lines;
  private readonly tail: readonly string[];
  private readonly turns: Turns;
  /** From here on there is none: every beginning would look there again. */
  private end: number;

  constructor(document: Lines, tail: readonly string[], turns: Turns) {
    this.document = document;
    this.tail = tail;
    this.turns = turns;
    this.end = document.lineCount;
  }

  /** The first end at or after `place`. */
  async after(place: Place): Promise<Place | undefined> {
    for (let line = place.line; line < this.end; line++) {
      const { text } = this.document.lineAt(line);
      if (this.turns.over(text.length + LINE_CHARACTERS)) await this.turns.next();
      const character = startIn(text, this.tail, line === place.line ? place.character : 0);
      if (character >= 0 && (await goesOn(this.document, this.tail, line, this.turns))) {
        return endAt({ line, character }, this.tail);
      }
    }
    this.end = Math.min(this.end, place.line + 1);
    return undefined;
  }
}

/** The lines most like the text; of a long one, from those most like its beginning to those most like its end. */
async function roughly(
  document: Lines,
  head: readonly string[],
  tail: readonly string[] | undefined,
  near: number,
  turns: Turns,
): Promise<Found | undefined> {
  const found = await nearly(document, head, near, turns);
  const rest = found === undefined || tail === undefined ? undefined : await nearly(document, tail, near, turns);
  return found !== undefined && rest !== undefined && compare(rest.end, found.end) > 0
    ? { ...found, end: rest.end }
    : found;
}

/** Lines as short as a bracket are in every file, and say nothing about where a text is. */
const TELLING_LENGTH = 4;
/** Nor do lines that the text itself has more often. */
const MOST_EQUAL = 16;

/** A vote takes about as long as so many characters that are only read. */
const VOTE_CHARACTERS = 20;

interface Vote {
  readonly line: number;
  /** Where the text would begin. */
  readonly start: number;
  /** The line of the text. */
  readonly of: number;
}

/** A line that matches votes for the place where the text would begin; the place with most votes around it wins. */
async function nearly(
  document: Lines,
  wanted: readonly string[],
  near: number,
  turns: Turns,
): Promise<Found | undefined> {
  // By the lines that are wanted, which are few: the document may have a million characters.
  const places = new Map<string, number[]>();
  for (const [of, line] of wanted.entries()) {
    const trimmed = line.trim();
    if (turns.over(line.length + LINE_CHARACTERS)) await turns.next();
    if (trimmed.length < TELLING_LENGTH) continue;
    const known = places.get(trimmed);
    if (known === undefined) places.set(trimmed, [of]);
    else known.push(of);
  }
  let telling = 0;
  for (const [line, of] of places) {
    if (of.length > MOST_EQUAL) places.delete(line);
    else telling += of.length;
  }
  if (telling < 2) return undefined;

  const votes: Vote[] = [];
  const counts = new Map<number, number>();
  for (let line = 0; line < document.lineCount; line++) {
    const { text } = document.lineAt(line);
    const matching = places.get(text.trim()) ?? [];
    for (const of of matching) {
      const start = line - of;
      votes.push({ line, start, of });
      counts.set(start, (counts.get(start) ?? 0) + 1);
    }
    if (turns.over(text.length + LINE_CHARACTERS + matching.length * VOTE_CHARACTERS)) await turns.next();
  }
  let best = { start: 0, count: 0 };
  for (const [start, count] of counts) {
    const nearer = Math.abs(start - near) < Math.abs(best.start - near);
    if (count > best.count || (count === best.count && nearer)) best = { start, count };
    if (turns.over(VOTE_CHARACTERS)) await turns.next();
  }

  // Lines put in or taken out shift the later votes a little.
  const drift = Math.max(3, Math.floor(wanted.length / 2));
  const matched = new Set<number>();
  let [from, to] = [document.lineCount, 0];
  for (const { line, start, of } of votes) {
    if (turns.over(VOTE_CHARACTERS)) await turns.next();
    if (Math.abs(start - best.start) > drift) continue;
    matched.add(of);
    from = Math.min(from, line);
    to = Math.max(to, line);
  }
  if (matched.size === 0 || matched.size * 2 < telling) return undefined;
  const end = { line: to, character: document.lineAt(to).text.length };
  return { start: { line: from, character: 0 }, end, exact: false };
}
