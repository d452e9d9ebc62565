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

/** One life of the thread, with what waits for it: an old one may still be ending when a new one works. */
interface Life {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
}

export class Meter {
  readonly #file: string;
  readonly #idleMs: number;
  #life: Life | undefined;
  #timer: NodeJS.Timeout | undefined;
  #nextId = 1;

  /** `file`: the built thread. */
  constructor(file: string, idleMs = IDLE_MS) {
    this.#file = file;
    this.#idleMs = idleMs;
  }

  /** True while the thread lives. */
  get running(): boolean {
    return this.#life !== undefined;
  }

  /** @throws TokenizerError and what reading a model's config throws, MeterError when the thread ends */
  count(folder: ModelFolder, set: PromptSet, input: string): Promise<PromptCount> {
    this.#life ??= this.#start();
    clearTimeout(this.#timer);
    const { worker, waiting } = this.#life;
    const id = this.#nextId++;
    const message: ToMeter = { id, folder, set, input };
    const done = new Promise<PromptCount>((resolve, reject) => waiting.set(id, { resolve, reject }));
    worker.postMessage(message);
    return done.finally(() => {
      if (waiting.size > 0) return;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => {
        if (this.#life?.waiting.size === 0) void this.dispose();
      }, this.#idleMs).unref();
    });
  }

  /** Ends the thread; the next count starts another. */
  async dispose(): Promise<void> {
    clearTimeout(this.#timer);
    const life = this.#life;
    this.#life = undefined;
    await life?.worker.terminate();
  }

  #start(): Life {
    const worker = new Worker(this.#file, { name: 'meter' });
    const life: Life = { worker, waiting: new Map() };
    // Counting is never a reason for the process to stay.
    worker.unref();
    let reason = 'its thread ended';
    worker.on('message', (message: FromMeter) => {
      const waiting = life.waiting.get(message.id);
      life.waiting.delete(message.id);
      if (message.kind === 'count') waiting?.resolve(message.count);
      else waiting?.reject(fromCode(message.code, message.message, message.saying));
    });
    worker.on('error', (error) => {
      reason = error instanceof Error ? error.message : String(error);
    });
    worker.on('exit', () => {
      if (this.#life === life) this.#life = undefined;
      for (const { reject } of life.waiting.values()) reject(new MeterError(reason));
      life.waiting.clear();
    });
    return life;
  }
}
