/** The text a command is about: `FILE`, `FILE:FROM-TO`, or `-` for standard input. Refuses what a model cannot read. */
import { closeSync, existsSync, openSync, readSync, statSync } from 'node:fs';
import { FlanError, UsageError } from '../errors';
import { languageOf } from './language';

/** A model reads some thousand tokens; a file of this size is a wrong file, not a long one. */
const MAX_SOURCE_BYTES = 2 * 1024 * 1024;
/** With a line range the file itself may be larger. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

export interface Source {
  /** As it was named; `-` is `standard input`. */
  readonly name: string;
  readonly text: string;
  /** 1-based line of the file at which `text` starts. */
  readonly firstLine: number;
  readonly languageId: string;
}

export class SourceError extends FlanError {
  constructor(message: string) {
    super('source', message);
  }
}

interface Range {
  readonly from: number;
  readonly to: number;
}

/**
 * Reads one source. Throws SourceError (it cannot be read) or UsageError (the range makes no sense).
 * `limit`: most bytes; a table is read row by row and may be larger than a text.
 */
export function readSource(argument: string, limit = MAX_SOURCE_BYTES): Source {
  if (argument === '')
    throw new UsageError('A file name is empty. Give a file, FILE:FROM-TO, or - for standard input.');
  const { path, range } = split(argument);
  const name = path === '-' ? 'standard input' : path;
  const text = decode(
    path === '-' ? readStdin(limit) : readFile(path, range === undefined ? limit : MAX_FILE_BYTES),
    name,
  );
  const part = range === undefined ? text : lines(text, range, name, limit);
  if (part.trim() === '')
    throw new SourceError(`${argument === '-' ? name : argument} is empty: there is nothing to read.`);
  return { name, text: part, firstLine: range?.from ?? 1, languageId: languageOf(path) };
}

/** `FILE:FROM-TO`, `FILE:LINE`; a file whose own name looks like that is taken as it is. */
function split(argument: string): { readonly path: string; readonly range: Range | undefined } {
  const match = /^(.+):(\d+)(?:-(\d+))?$/s.exec(argument);
  if (match?.[1] === undefined || existsSync(argument)) {
    if (match === null && !existsSync(argument) && /:[\d-]*-[\d-]*$/.test(argument)) {
      throw new UsageError(`'${argument}': lines are given as FILE:FROM-TO, for example notes.md:10-25.`);
    }
    return { path: argument, range: undefined };
  }
  const from = Number(match[2]);
  const to = Number(match[3] ?? match[2]);
  if (from < 1 || to < from) {
    throw new UsageError(`'${argument}': lines count from 1, and FROM is not after TO (FILE:FROM-TO).`);
  }
  return { path: match[1], range: { from, to } };
}

function readFile(path: string, limit: number): Buffer {
  let size: number;
  try {
    const stat = statSync(path);
    if (stat.isDirectory()) throw new SourceError(`${path} is a folder. Name the files in it.`);
    size = stat.size;
  } catch (error) {
    throw error instanceof FlanError ? error : unreadable(path, error);
  }
  if (size > limit) throw tooLarge(path, size, limit);
  let file: number | undefined;
  try {
    file = openSync(path, 'r');
    return readAll(file, limit, path);
  } catch (error) {
    throw error instanceof FlanError ? error : unreadable(path, error);
  } finally {
    if (file !== undefined) closeSync(file);
  }
}

function readStdin(limit: number): Buffer {
  try {
    return readAll(0, limit, 'standard input');
  } catch (error) {
    throw error instanceof FlanError ? error : unreadable('standard input', error);
  }
}

/** Reads to the end in pieces: pipes and devices have no size. */
function readAll(file: number, limit: number, name: string): Buffer {
  const pieces: Buffer[] = [];
  let total = 0;
  for (;;) {
    const piece = Buffer.alloc(65_536);
    let count: number;
    try {
      count = readSync(file, piece);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      // A terminal or pipe in non-blocking mode has nothing yet; Windows reports the end of a pipe as an error.
      if (code === 'EAGAIN') {
        Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
        continue;
      }
      if (code === 'EOF') break;
      throw error;
    }
    if (count === 0) break;
    total += count;
    if (total > limit) throw tooLarge(name, total, limit);
    pieces.push(piece.subarray(0, count));
  }
  return Buffer.concat(pieces);
}

/** UTF-8, or UTF-16 with a byte order mark (as Windows programs write it). */
function decode(bytes: Buffer, name: string): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  if (bytes.includes(0)) throw new SourceError(`${name} is a binary file. Give a text file.`);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new SourceError(`${name} is not UTF-8 text. Save it as UTF-8, then try again.`);
  }
}

function lines(text: string, { from, to }: Range, name: string, limit: number): string {
  const all = text.split('\n');
  // The line after a final newline is not one that an editor counts as text.
  const count = all.at(-1) === '' ? all.length - 1 : all.length;
  if (from > count)
    throw new SourceError(`${name} has ${count} ${count === 1 ? 'line' : 'lines'}: there is no line ${from}.`);
  const part = all.slice(from - 1, Math.min(to, count)).join('\n');
  const size = Buffer.byteLength(part);
  if (size > limit) throw tooLarge(`${name}:${from}-${to}`, size, limit);
  return part;
}

function tooLarge(name: string, bytes: number, limit: number): SourceError {
  const size = (bytes / 1024 / 1024).toFixed(1);
  return new SourceError(
    `${name} is too large (${size} MB, at most ${Math.floor(limit / 1024 / 1024)} MB). Choose lines with FILE:FROM-TO.`,
  );
}

function unreadable(name: string, error: unknown): SourceError {
  const { code, message } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return new SourceError(`${name} does not exist. Check the path.`);
  if (code === 'EACCES' || code === 'EPERM') return new SourceError(`${name} may not be read. Check its permissions.`);
  return new SourceError(`${name} cannot be read: ${message}`);
}
