/**
 * The answers of one workspace, in one file with a line for each. A new answer is one appended line, so that two windows
 * on the same folder lose nothing of each other. No `vscode`.
 */
import { appendFile, mkdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { Turns } from '../turns';
import { type Entry, parseEntry } from './entry';

/** What is kept at most; beyond either, the oldest answers leave, down to three quarters, so that this is rare. */
export interface Bounds {
  readonly entries: number;
  readonly bytes: number;
}

const BOUNDS: Bounds = { entries: 500, bytes: 2_000_000 };
const KEPT_SHARE = 0.75;

export class HistoryStore {
  /** Undefined: nowhere to keep anything, only this session's memory. */
  private readonly file: string | undefined;
  private readonly bounds: Bounds;
  private known: Entry[] | undefined;
  private queue: Promise<unknown> = Promise.resolve();

  constructor(file: string | undefined, bounds: Bounds = BOUNDS) {
    this.file = file;
    this.bounds = bounds;
  }

  /** Oldest first. Read from the file once; a line that cannot be read is left out. */
  entries(): Promise<readonly Entry[]> {
    return this.serially(() => this.load());
  }

  add(entry: Entry): Promise<void> {
    return this.serially(async () => {
      const entries = await this.load();
      entries.push(entry);
      if (this.file === undefined) {
        this.known = newest(entries, this.bounds.entries);
        return;
      }
      await mkdir(dirname(this.file), { recursive: true });
      await appendFile(this.file, `${JSON.stringify(entry)}\n`, { mode: 0o600 });
      const { size } = await stat(this.file);
      if (entries.length > this.bounds.entries || size > this.bounds.bytes) await this.shorten();
    });
  }

  remove(id: string): Promise<void> {
    return this.serially(async () => {
      await this.reload();
      await this.write((await this.load()).filter((entry) => entry.id !== id));
    });
  }

  /** Puts what `change` gives in the place of each entry; entries of which it gives nothing stay. Writes only what differs. */
  replace(change: (entry: Entry) => Entry | undefined): Promise<boolean> {
    return this.serially(async () => {
      await this.reload();
      let changed = false;
      const entries = (await this.load()).map((entry) => {
        const other = change(entry);
        if (other !== undefined) changed = true;
        return other ?? entry;
      });
      if (changed) await this.write(entries);
      return changed;
    });
  }

  /** Takes everything away, the file as well. */
  clear(): Promise<void> {
    return this.serially(async () => {
      this.known = [];
      if (this.file !== undefined) await rm(this.file, { force: true });
    });
  }

  private async load(): Promise<Entry[]> {
    if (this.known !== undefined) return this.known;
    const text = this.file === undefined ? '' : await readText(this.file);
    const entries: Entry[] = [];
    const turns = new Turns();
    for (const line of text.split('\n')) {
      if (turns.over(line.length)) await turns.next();
      const entry = line === '' ? undefined : parseEntry(line);
      if (entry !== undefined) entries.push(entry);
    }
    this.known = entries;
    return entries;
  }

  /** Another window may have added lines. */
  private async reload(): Promise<void> {
    if (this.file !== undefined) this.known = undefined;
    await this.load();
  }

  private async shorten(): Promise<void> {
    await this.reload();
    const entries = newest(await this.load(), Math.floor(this.bounds.entries * KEPT_SHARE));
    const lines = await linesOf(entries);
    let bytes = lines.reduce((sum, line) => sum + Buffer.byteLength(line), 0);
    let first = 0;
    for (; bytes > this.bounds.bytes * KEPT_SHARE && first < lines.length - 1; first++) {
      bytes -= Buffer.byteLength(lines[first] ?? '');
    }
    await this.write(entries.slice(first), lines.slice(first));
  }

  private async write(entries: Entry[], lines?: readonly string[]): Promise<void> {
    this.known = entries;
    if (this.file === undefined) return;
    await mkdir(dirname(this.file), { recursive: true });
    const partial = `${this.file}.${process.pid}.partial`;
    await writeFile(partial, (lines ?? (await linesOf(entries))).join(''), { mode: 0o600 });
    await rename(partial, this.file);
  }

  private serially<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = this.queue.then(action);
    this.queue = result.catch(() => undefined);
    return result;
  }
}

async function linesOf(entries: readonly Entry[]): Promise<string[]> {
  const lines: string[] = [];
  const turns = new Turns();
  for (const entry of entries) {
    const line = `${JSON.stringify(entry)}\n`;
    lines.push(line);
    if (turns.over(line.length)) await turns.next();
  }
  return lines;
}

function newest(entries: Entry[], most: number): Entry[] {
  return entries.length > most ? entries.slice(-most) : entries;
}

async function readText(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    if (typeof error === 'object' && error !== null && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
}
