/**
 * Counts tokens while somebody types. It has a thread of its own, with nothing but a tokenizer: the model thread is busy
 * for seconds, and the server's own must not be. The thread ends when nobody has typed for a while.
 */
import { Worker } from 'node:worker_threads';
import { FlanError } from '../errors';
import type { PromptSet } from '../prompts/set';
import type { PromptCount } from '../protocol';
import { fromCode } from '../rpc/errors';
import type { FromMeter, ToMeter } from './meter-messages';
import type { ModelFolder } from './models';

/** A tokenizer takes some tens of megabytes; reading it again takes less than a second. */
const IDLE_MS = 5 * 60_000;

export class MeterError extends FlanError {
  constructor(reason: string) {
    super('meter', `The tokens could not be counted (${reason}). Try again.`);
  }
}

interface Waiting {
  readonly resolve: (count: PromptCount) => void;
  readonly reject: (error: Error) => void;
}

export class Meter {
  readonly #file: string;
  readonly #idleMs: number;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #timer: NodeJS.Timeout | undefined;
  #nextId = 1;

  /** `file`: the built thread. */
  constructor(file: string, idleMs = IDLE_MS) {
    this.#file = file;
    this.#idleMs = idleMs;
  }

  /** True while the thread lives. */
  get running(): boolean {
    return this.#worker !== undefined;
  }

  /** @throws TokenizerError and what reading a model's config throws, MeterError when the thread ends */
  count(folder: ModelFolder, set: PromptSet, input: string): Promise<PromptCount> {
    this.#worker ??= this.#start();
    clearTimeout(this.#timer);
    const id = this.#nextId++;
    const message: ToMeter = { id, folder, set, input };
    const done = new Promise<PromptCount>((resolve, reject) => this.#waiting.set(id, { resolve, reject }));
    this.#worker.postMessage(message);
    return done.finally(() => {
      if (this.#waiting.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => void this.dispose(), this.#idleMs).unref();
    });
  }

  /** Ends the thread; the next count starts another. */
  async dispose(): Promise<void> {
    clearTimeout(this.#timer);
    const worker = this.#worker;
    this.#worker = undefined;
    await worker?.terminate();
  }

  #start(): Worker {
    const worker = new Worker(this.#file, { name: 'meter' });
    // Counting is never a reason for the process to stay.
    worker.unref();
    let reason = 'its thread ended';
    worker.on('message', (message: FromMeter) => {
      const waiting = this.#waiting.get(message.id);
      this.#waiting.delete(message.id);
      if (message.kind === 'count') waiting?.resolve(message.count);
      else waiting?.reject(fromCode(message.code, message.message));
    });
    worker.on('error', (error) => {
      reason = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      if (this.#worker === worker) this.#worker = undefined;
      const waiting = [...this.#waiting.values()];
      this.#waiting.clear();
      for (const { reject } of waiting) reject(new MeterError(reason));
    });
    return worker;
  }
}
