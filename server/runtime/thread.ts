/**
 * The model thread seen from the server's thread: jobs in, promises out. The thread is started at the first job, and
 * again at the next job after it ended by a fault; three faults in a row without a job done are too many.
 *
 * A fault of native code is no exception: it ends the whole server process, and the clients start a new one.
 */
import { setFlagsFromString } from 'node:v8';
import { Worker } from 'node:worker_threads';
import { FlanError } from '../errors';
import type { Progress } from '../protocol';
import { fromCode } from '../rpc/errors';
import type { FromWorker, JobName, Jobs, LoadedBeside, ToWorker, WorkerSetup } from './messages';
import { SharedStop } from './stop';

const MAX_FAULTS = 3;
/** A tokenizer is a hundred thousand small objects that stay: with room for them, a third of its loading time is saved. */
const YOUNG_MB = 64;

export class ModelThreadError extends FlanError {
  constructor(reason: string) {
    super('model-thread', `The model thread ended unexpectedly (${reason}). Send the request again.`);
  }
}

export class ModelThreadBrokenError extends FlanError {
  constructor(reason: string) {
    super(
      'model-thread-broken',
      `The model thread failed ${MAX_FAULTS} times in a row (${reason}). Run \`flan stop\` and \`flan doctor\`, or choose another engine.`,
    );
  }
}

interface Waiting {
  readonly resolve: (result: Jobs[JobName]['result']) => void;
  readonly reject: (error: Error) => void;
  readonly progress: (progress: Progress) => void;
}

export class ModelThread {
  readonly #file: string;
  readonly #setup: WorkerSetup;
  readonly #log: (line: string) => void;
  readonly #waiting = new Map<number, Waiting>();
  #worker: Worker | undefined;
  #nextId = 1;
  #used = false;
  #faults = 0;
  #lastFault = '';
  #onFreed: (beside?: readonly LoadedBeside[]) => void = () => {};

  /** `file`: the built worker. `log` gets why a thread ended. */
  constructor(file: string, setup: WorkerSetup, log: (line: string) => void) {
    this.#file = file;
    this.#setup = setup;
    this.#log = log;
  }

  /**
   * Called when the model that was used last is loaded no more: another one is being loaded, or the thread ended by a fault.
   * With what is left beside it, when only another one is gone.
   */
  set onFreed(listener: (beside?: readonly LoadedBeside[]) => void) {
    this.#onFreed = listener;
  }

  /** Starts the thread ahead of the first job, so that its code is read while the client still connects. */
  warmUp(): void {
    this.#worker ??= this.#start();
  }

  /** Runs one job. Rejects with a FlanError. */
  job<N extends JobName>(
    name: N,
    params: Jobs[N]['params'],
    stop: SharedStop,
    progress: (progress: Progress) => void = () => {},
  ): Promise<Jobs[N]['result']> {
    if (this.#faults >= MAX_FAULTS) return Promise.reject(new ModelThreadBrokenError(this.#lastFault));
    this.#worker ??= this.#start();
    this.#used = true;
    const id = this.#nextId++;
    // The name and its parameters belong together by the signature above; the union cannot see that.
    const message = { id, job: name, params, stop: stop.buffer } as ToWorker;
    const done = new Promise<Jobs[N]['result']>((resolve, reject) => {
      this.#waiting.set(id, { resolve, reject, progress });
    });
    this.#worker.postMessage(message);
    return done;
  }

  /** Frees what is loaded. The thread must not run anything more; it ends with the process. */
  async dispose(): Promise<void> {
    // A thread that is only warm has nothing to free, and may take a second to answer.
    if (this.#worker !== undefined && this.#used && this.#faults < MAX_FAULTS)
      await this.job('dispose', null, new SharedStop());
  }

  #start(): Worker {
    // Read by V8 when the thread's heap is made; this thread's own keeps its size.
    setFlagsFromString(`--min-semi-space-size=${YOUNG_MB}`);
    const worker = new Worker(this.#file, {
      workerData: this.#setup,
      name: 'model',
      resourceLimits: { maxYoungGenerationSizeMb: 3 * YOUNG_MB },
    });
    let reason = '';
    worker.on('message', (message: FromWorker) => this.#receive(message));
    worker.on('error', (error) => {
      reason = error instanceof Error ? error.message : String(error);
      this.#log(`model thread: ${error instanceof Error ? error.stack : String(error)}`);
    });
    worker.on('exit', (code) => {
      if (this.#worker === worker) this.#ended(reason || `exit code ${code}`);
    });
    return worker;
  }

  #receive(message: FromWorker): void {
    const waiting = this.#waiting.get(message.id);
    if (waiting === undefined) return;
    if (message.kind === 'progress') {
      waiting.progress(message.progress);
      return;
    }
    if (message.kind === 'freed') {
      this.#onFreed(message.beside);
      return;
    }
    this.#waiting.delete(message.id);
    this.#faults = 0;
    if (message.kind === 'result') waiting.resolve(message.result);
    else waiting.reject(fromCode(message.code, message.message, message.saying));
  }

  #ended(reason: string): void {
    this.#worker = undefined;
    this.#faults++;
    this.#lastFault = reason;
    this.#log(`model thread ended: ${reason}`);
    const waiting = [...this.#waiting.values()];
    this.#waiting.clear();
    this.#onFreed();
    for (const { reject } of waiting) reject(new ModelThreadError(reason));
  }
}
