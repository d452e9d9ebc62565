/**
 * A file of the hub as something to read at any place. Headers and directories are read in small blocks that are kept; the
 * weights come from a stream, once there is one.
 */
import type { ReadHandle } from '../tensorfile';
import type { HubFile } from './hub_file';
import type { ShardStream } from './shard_stream';

/** The unit of small reads. A zip file has a header of some 60 bytes for every tensor, all over the file. */
const BLOCK_BYTES = 8 * 1024;
/** Read at once where a file is first looked at: most safetensors headers fit. */
const START_BYTES = 128 * 1024;
/** Longer reads are not kept. */
const KEPT_BYTES = 1024 * 1024;

export class RemoteFile implements ReadHandle {
  readonly file: HubFile;
  readonly #blocks = new Map<number, Promise<Uint8Array>>();
  #stream: ShardStream | undefined;

  constructor(file: HubFile) {
    this.file = file;
  }

  /** From now on, everything is read from this stream; undefined: from the hub again. */
  set stream(stream: ShardStream | undefined) {
    this.#stream = stream;
  }

  /** Whether bytes of the file are those that were read before, in small blocks, of the same place. Each is asked once. */
  async agrees(bytes: Uint8Array, position: number): Promise<boolean> {
    for (const [block, kept] of this.#blocks) {
      const start = block * BLOCK_BYTES;
      if (start < position || start >= position + bytes.length) continue;
      const part = bytes.subarray(start - position, start - position + BLOCK_BYTES);
      const before = (await kept).subarray(0, part.length);
      if (Buffer.compare(before, part) !== 0) return false;
      this.#blocks.delete(block);
    }
    return true;
  }

  async read(
    target: Uint8Array,
    offset: number,
    length: number,
    position: number,
  ): Promise<{ readonly bytesRead: number }> {
    const bytesRead = Math.max(0, Math.min(length, this.file.bytes - position));
    const part = target.subarray(offset, offset + bytesRead);
    if (bytesRead === 0) return { bytesRead };
    if (this.#stream) await this.#stream.read(part, position);
    else if (bytesRead > KEPT_BYTES) await this.file.range(part, position);
    else await this.#fromBlocks(part, position);
    return { bytesRead };
  }

  async close(): Promise<void> {
    this.#blocks.clear();
  }

  async #fromBlocks(part: Uint8Array, position: number): Promise<void> {
    const first = Math.floor(position / BLOCK_BYTES);
    const last = Math.floor((position + part.length - 1) / BLOCK_BYTES);
    this.#fetch(first, position === 0 ? Math.max(last, START_BYTES / BLOCK_BYTES - 1) : last);
    for (let block = first; block <= last; block++) {
      const bytes = (await this.#blocks.get(block)) ?? new Uint8Array();
      const start = block * BLOCK_BYTES;
      const from = Math.max(position, start);
      part.set(bytes.subarray(from - start, position + part.length - start), from - position);
    }
  }

  /** Starts to fetch the blocks that are not there yet, runs of them with one request. */
  #fetch(first: number, last: number): void {
    const end = Math.min(last, Math.ceil(this.file.bytes / BLOCK_BYTES) - 1);
    for (let block = first; block <= end; ) {
      if (this.#blocks.has(block)) {
        block++;
        continue;
      }
      let next = block + 1;
      while (next <= end && !this.#blocks.has(next)) next++;
      const start = block * BLOCK_BYTES;
      const run = new Uint8Array(Math.min(next * BLOCK_BYTES, this.file.bytes) - start);
      const fetched = this.file.range(run, start);
      for (let b = block; b < next; b++) {
        const part = fetched.then(() => run.subarray(b * BLOCK_BYTES - start, (b + 1) * BLOCK_BYTES - start));
        part.catch(() => this.#blocks.delete(b)); // Whoever waits for it is told.
        this.#blocks.set(b, part);
      }
      block = next;
    }
  }
}
