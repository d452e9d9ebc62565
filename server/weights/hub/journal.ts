/**
 * What of a pull is done and on the disk, line by line, so that a pull that was killed at any moment goes on from there. A
 * line is written only after what it tells of was brought onto the disk; a last line that is cut short is forgotten.
 */
import { type FileHandle, open, readFile } from 'node:fs/promises';
import type { TensorErrorEntry } from '../plan';
import { errorCode } from '../small';
import { diskErrors } from '../writer';

/** A tensor that is written, by its place in the plan, with what it lost by quantizing. */
export type DoneTensor = readonly [index: number, ...errors: [] | [relativeRms: number, maxError: number]];

export interface ShardRecord {
  /** The file was fetched and hashed up to here; every tensor that begins before is in `done`. */
  readonly at: number;
  /** State of its SHA-256 there. */
  readonly hash: string;
  readonly done: ReadonlyMap<number, DoneTensor>;
  readonly verified: boolean;
}

type Line =
  | { readonly key: string; readonly model: string; readonly revision: string; readonly totalBytes: number }
  | { readonly shard: string; readonly at: number; readonly hash: string; readonly done: readonly DoneTensor[] }
  | { readonly verified: string }
  | { readonly dropped: string };

/** What the first line tells, for lists of what is unfinished. */
export interface JournalHead {
  /** Of everything that the written bytes depend on: with another one, all begins anew. */
  readonly key: string;
  readonly model: string;
  readonly revision: string;
  readonly totalBytes: number;
}

export class Journal {
  readonly #handle: FileHandle;
  readonly #path: string;
  readonly #shards: Map<string, ShardRecord>;

  private constructor(path: string, handle: FileHandle, shards: Map<string, ShardRecord>) {
    this.#path = path;
    this.#handle = handle;
    this.#shards = shards;
  }

  /** Begins a new one. */
  static async create(path: string, head: JournalHead): Promise<Journal> {
    const journal = new Journal(path, await diskErrors(path, () => open(path, 'w')), new Map());
    await journal.#append(head);
    return journal;
  }

  /** Goes on with one that was begun with the same key; undefined when there is none. */
  static async resume(path: string, key: string): Promise<Journal | undefined> {
    const read = await readJournal(path);
    if (read?.head.key !== key) return undefined;
    const handle = await diskErrors(path, () => open(path, 'r+'));
    await handle.truncate(read.bytes);
    // From here on at its end.
    await handle.close();
    return new Journal(path, await diskErrors(path, () => open(path, 'a')), read.shards);
  }

  shard(name: string): ShardRecord | undefined {
    return this.#shards.get(name);
  }

  /** Bytes of a shard up to which nothing has to be fetched again. */
  async reached(shard: string, at: number, hash: string, done: readonly DoneTensor[]): Promise<void> {
    await this.#append({ shard, at, hash, done });
  }

  async verified(shard: string): Promise<void> {
    await this.#append({ verified: shard });
  }

  /** Everything of a shard is to be fetched again. */
  async dropped(shard: string): Promise<void> {
    await this.#append({ dropped: shard });
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async #append(line: Line): Promise<void> {
    await diskErrors(this.#path, () => this.#handle.appendFile(`${JSON.stringify(line)}\n`));
    apply(this.#shards, line);
  }
}

export interface ReadJournal {
  readonly head: JournalHead;
  readonly shards: Map<string, ShardRecord>;
  /** Of the file, as far as it is whole. */
  readonly bytes: number;
}

/** Reads a journal as far as it is whole; undefined where there is none. */
export async function readJournal(path: string): Promise<ReadJournal | undefined> {
  let content: Buffer;
  try {
    content = await readFile(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
  const shards = new Map<string, ShardRecord>();
  let head: JournalHead | undefined;
  let bytes = 0;
  for (let end = content.indexOf(10); end >= 0; end = content.indexOf(10, bytes)) {
    let line: Line;
    try {
      line = JSON.parse(content.toString('utf8', bytes, end)) as Line;
    } catch {
      break;
    }
    if ('key' in line) head = line;
    else apply(shards, line);
    bytes = end + 1;
  }
  return head && { head, shards, bytes };
}

function apply(shards: Map<string, ShardRecord>, line: Line): void {
  if ('dropped' in line) {
    shards.delete(line.dropped);
  } else if ('verified' in line) {
    const record = shards.get(line.verified) ?? { at: 0, hash: '', done: new Map() };
    shards.set(line.verified, { ...record, verified: true });
  } else if ('shard' in line) {
    const done = new Map(shards.get(line.shard)?.done);
    for (const tensor of line.done) done.set(tensor[0], tensor);
    shards.set(line.shard, { at: line.at, hash: line.hash, done, verified: false });
  }
}

/** The errors of all tensors, in the order in which a conversion in one go lists them. */
export function errorsOf(journal: Journal, shards: Iterable<string>, names: readonly string[]): TensorErrorEntry[] {
  const done: DoneTensor[] = [];
  for (const shard of shards) done.push(...(journal.shard(shard)?.done.values() ?? []));
  const errors: TensorErrorEntry[] = [];
  for (const [index, relativeRms, maxError] of done.sort(([a], [b]) => a - b)) {
    if (relativeRms !== undefined && maxError !== undefined) errors.push([names[index] ?? '', relativeRms, maxError]);
  }
  return errors;
}
