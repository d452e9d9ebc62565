/**
 * SHA-256 of what is fetched, on a thread of its own: it takes longer than all else that a pull does to a byte. Without the
 * built thread, the caller's own does it.
 */
import { Worker } from 'node:worker_threads';
import { QuantizerThreadError } from '../quantizer';
import { Sha256 } from './sha256';
import { type FromHashThread, hashParts, type ToHashThread } from './sha256_thread';

interface Waiting {
  resolve(answer: FromHashThread): void;
  reject(error: Error): void;
}

/** The sum of one file at a time. */
export interface FileHash {
  /** Bytes hashed so far. */
  readonly bytes: number;
  /** Where hashing began, as `Sha256.save` gives it. */
  readonly start: string;
  /**
   * Adds bytes, which must stay as they are until this resolves. One call after the other.
   *
   * @param ends places in `bytes`, ascending.
   * @returns the states there.
   */
  update(bytes: Uint8Array, ends: readonly number[]): Promise<readonly string[]>;
  /** Hexadecimal. Nothing can be added afterwards. */
  digest(): Promise<string>;
}

export class Hasher {
  readonly #threadFile: string | undefined;
  #thread: Worker | undefined;
  /** Who waits for an answer, in the order of the questions. */
  readonly #waiting: Waiting[] = [];
  #fault: Error | undefined;

  /** `threadFile`: the built thread (`dist/hasher.js`), started by the first file. */
  constructor(threadFile?: string) {
    this.#threadFile = threadFile;
  }

  /** Memory for what is to be hashed: the thread sees it, too. */
  memory(bytes: number): Uint8Array {
    return new Uint8Array(this.#threadFile === undefined ? new ArrayBuffer(bytes) : new SharedArrayBuffer(bytes));
  }

  /** Begins a file, or goes on with one that `state` was saved of. A file that was begun before is given up. */
  begin(state = new Sha256().save()): FileHash {
    const hash = Sha256.restore(state);
    const start = state;
    if (this.#threadFile === undefined) {
      return {
        start,
        get bytes() {
          return hash.bytes;
        },
        update: async (bytes, ends) => hashParts(hash, bytes, ends),
        digest: async () => hash.digest(),
      };
    }
    const thread = this.#started(this.#threadFile);
    this.#post(thread, { kind: 'begin', state });
    let done = hash.bytes;
    return {
      start,
      get bytes() {
        return done;
      },
      update: async (bytes, ends) => {
        const answer = await this.#ask(thread, { kind: 'update', bytes, ends });
        done += bytes.length;
        return 'states' in answer ? answer.states : [];
      },
      digest: async () => {
        const answer = await this.#ask(thread, { kind: 'digest' });
        return 'digest' in answer ? answer.digest : '';
      },
    };
  }

  /** Ends the thread. What is not hashed then is rejected. */
  async close(): Promise<void> {
    await this.#thread?.terminate();
  }

  #started(file: string): Worker {
    if (this.#thread) return this.#thread;
    const thread = new Worker(file, { name: 'hasher' });
    thread.on('message', (answer: FromHashThread) => this.#waiting.shift()?.resolve(answer));
    const ended = (reason: string) => {
      this.#fault ??= new QuantizerThreadError(reason);
      for (const { reject } of this.#waiting.splice(0)) reject(this.#fault);
    };
    thread.on('error', (error) => ended(error instanceof Error ? error.message : String(error)));
    thread.on('exit', (code) => ended(`exit code ${code}`));
    this.#thread = thread;
    return thread;
  }

  #ask(thread: Worker, message: ToHashThread): Promise<FromHashThread> {
    return new Promise((resolve, reject) => {
      if (this.#fault) return reject(this.#fault);
      this.#waiting.push({ resolve, reject });
      this.#post(thread, message);
    });
  }

  #post(thread: Worker, message: ToHashThread): void {
    thread.postMessage(message);
  }
}
