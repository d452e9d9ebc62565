/**
 * The model of this process, shared by all clients. Requests wait in a fair queue; each is run when its model is the one
 * that is loaded, loading it first if another is: the model thread may have kept it beside that. A load is shared: whoever waits for the same model sees its progress, and it
 * goes on when the client that asked first cancels while others wait.
 */
import { CancelledError, FlanError } from '../errors';
import type {
  LoadParams,
  ModelChoice,
  Progress,
  RunParams,
  RunResult,
  ScoreParams,
  ScoreResult,
  Status,
} from '../protocol';
import type { PromptJobResult } from '../tasks/fewshot/answer';
import { cancelledResult } from './cancelled';
import type { Jobs, LoadChoice, Loaded, LoadedBeside, PromptJobParams } from './messages';
import { TextPacer } from './pacer';
import { FairQueue } from './queue';
import { serves } from './serves';
import { SharedStop } from './stop';
import type { ModelThread } from './thread';

/** Error code of an engine whose device refuses this process for good (engine/cuda/errors.ts). */
const DEVICE_LOST = 'cuda-context-lost';

export type ServiceStatus = Omit<Status, 'pid' | 'version' | 'clients'>;
/** A cancellation token as JSON-RPC libraries have it. */
export interface CancelToken {
  readonly isCancellationRequested: boolean;
  onCancellationRequested(listener: () => void): { dispose(): void };
}

/** Says which folders a request's choice means, so that two spellings of one model are one. */
export type ResolveChoice = (choice: ModelChoice) => Promise<LoadChoice>;

type Thread = Pick<ModelThread, 'job' | 'onFreed' | 'dispose'>;
type RequestName = 'run' | 'score' | 'prompt' | 'load';

interface Request {
  readonly client: number;
  readonly name: RequestName;
  readonly params: RunParams | ScoreParams | PromptJobParams | LoadParams;
  readonly choice: LoadChoice;
  readonly key: string;
  readonly stop: SharedStop;
  readonly progress: (progress: Progress) => void;
  readonly finish: (result: Jobs[RequestName]['result']) => void;
  readonly fail: (error: unknown) => void;
  state: 'queued' | 'loading' | 'running' | 'done';
  ahead: number;
  loadMs: number;
}

export class ModelService {
  readonly #thread: Thread;
  readonly #resolve: ResolveChoice;
  readonly #queue = new FairQueue<Request>();
  #current: Request | undefined;
  #loaded: { readonly choice: LoadChoice; readonly info: Loaded } | undefined;
  #loading: { readonly key: string; readonly stop: SharedStop; last: Progress | undefined } | undefined;
  /** Resolves when every request so far is in line or refused. */
  #admitted: Promise<void> = Promise.resolve();
  #disposed = false;
  /** Requests that ask many times and are not at their end. */
  #held = 0;
  onStatus: () => void = () => {};
  /** The device refuses this process for good: only another process can use it again. */
  onDeviceLost: () => void = () => {};

  constructor(thread: Thread, resolve: ResolveChoice) {
    this.#thread = thread;
    this.#resolve = resolve;
    thread.onFreed = (beside) => {
      const loaded = this.#loaded;
      this.#loaded = loaded && beside && { ...loaded, info: { ...loaded.info, beside } };
      this.onStatus();
    };
  }

  /** What is loaded now, and was used last. */
  get loaded(): Loaded | undefined {
    return this.#loaded?.info;
  }

  /** Everything that is loaded. */
  get held(): readonly LoadedBeside[] {
    const info = this.loaded;
    return info === undefined ? [] : [info, ...info.beside];
  }

  get status(): ServiceStatus {
    const info = this.#loaded?.info;
    const busy = this.#loading === undefined ? 'busy' : 'loading';
    const idle = info === undefined ? 'idle' : this.#held > 0 ? 'busy' : 'ready';
    const state = this.#current === undefined ? idle : busy;
    const queued = this.#queue.size;
    if (info === undefined) return { state, queued };
    const { model, demo, engine, device, why } = info;
    const beside = info.beside.map((other) => ({ model: other.model, device: other.device }));
    return {
      ...{ state, queued, model, demo, engine, device },
      ...(why === '' ? {} : { why }),
      ...(beside.length === 0 ? {} : { beside }),
    };
  }

  run(client: number, params: RunParams, progress: (p: Progress) => void, token: CancelToken): Promise<RunResult> {
    const pacer = new TextPacer(progress);
    return this.#submit('run', client, params, (p) => pacer.send(p), token)
      .catch((error: FlanError) => {
        if (error instanceof CancelledError) return cancelledResult(params, this.#loaded?.info);
        throw error;
      })
      .finally(() => pacer.flush());
  }

  score(client: number, params: ScoreParams, token: CancelToken): Promise<ScoreResult> {
    return this.#submit('score', client, params, () => {}, token);
  }

  /** Rejects with CancelledError when cancelled before it began; afterwards resolves with the text so far. */
  prompt(
    client: number,
    params: PromptJobParams,
    progress: (p: Progress) => void,
    token: CancelToken,
  ): Promise<PromptJobResult> {
    const pacer = new TextPacer(progress);
    return this.#submit('prompt', client, params, (p) => pacer.send(p), token).finally(() => pacer.flush());
  }

  load(client: number, params: LoadParams, progress: (p: Progress) => void, token: CancelToken): Promise<Loaded> {
    return this.#submit('load', client, params, progress, token);
  }

  /**
   * A request that asks the model many times begins. Until the returned function is called, the status stays `busy`
   * between one time and the next: a status bar that changes to and fro tells nobody anything.
   */
  hold(): () => void {
    this.#held++;
    let done = false;
    return () => {
      if (done) return;
      done = true;
      this.#held--;
      this.onStatus();
    };
  }

  /** Stops what runs, refuses what waits, and frees the model. */
  async dispose(): Promise<void> {
    this.#disposed = true;
    for (const request of this.#queue.order()) this.#cancel(request);
    if (this.#current !== undefined) this.#cancel(this.#current);
    this.#loading?.stop.stop();
    await this.#thread.dispose();
  }

  async #submit<N extends RequestName>(
    name: N,
    client: number,
    params: Request['params'],
    progress: (p: Progress) => void,
    token: CancelToken,
  ): Promise<Jobs[N]['result']> {
    const choice = await this.#inOrder(this.#resolve(params));
    if (this.#disposed || token.isCancellationRequested) throw new CancelledError();
    return new Promise((resolve, reject) => {
      let listener: { dispose(): void } | undefined;
      const settle = (then: () => void) => {
        if (request.state === 'done') return;
        request.state = 'done';
        listener?.dispose();
        then();
      };
      const request: Request = {
        client,
        name,
        params,
        choice,
        key: JSON.stringify(choice),
        stop: new SharedStop(),
        progress: (p) => {
          if (request.state !== 'done') progress(p);
        },
        finish: (result) => settle(() => resolve(result)),
        fail: (error) => settle(() => reject(error)),
        state: 'queued',
        ahead: -1,
        loadMs: 0,
      };
      listener = token.onCancellationRequested(() => this.#cancel(request));
      this.#queue.push(client, request);
      this.#pump();
    });
  }

  /** Looking into folders takes one request longer than another; their order stays that in which they came. */
  async #inOrder<T>(choosing: Promise<T>): Promise<T> {
    const before = this.#admitted;
    const settled = choosing.catch(() => {});
    this.#admitted = before.then(() => settled).then(() => {});
    await before;
    return choosing;
  }

  #cancel(request: Request): void {
    request.stop.stop();
    if (request.state === 'queued') {
      this.#queue.remove(request.client, request);
      request.fail(new CancelledError());
      this.#announce();
    }
    if (request.state === 'loading') {
      request.fail(new CancelledError());
    }
    // Nobody waits any more for what is being loaded.
    const loading = this.#loading;
    if (loading !== undefined && !this.#waitersOf(loading.key).some((r) => r.state !== 'done')) loading.stop.stop();
  }

  #waitersOf(key: string): Request[] {
    const queued = this.#queue.order().filter((request) => request.key === key);
    return this.#current?.key === key ? [this.#current, ...queued] : queued;
  }

  #pump(): void {
    if (this.#current === undefined) {
      const request = this.#queue.shift();
      if (request !== undefined) {
        this.#current = request;
        void this.#serve(request).finally(() => {
          this.#current = undefined;
          this.#pump();
        });
      }
    }
    this.#announce();
  }

  /** Never rejects: every outcome goes to the request. */
  async #serve(request: Request): Promise<void> {
    try {
      const loaded = await this.#ensureLoaded(request);
      if (request.state === 'done') return;
      request.state = 'running';
      this.onStatus();
      request.finish(request.name === 'load' ? loaded : await this.#runJob(request.name, request));
    } catch (error) {
      request.fail(error);
      if (error instanceof FlanError && error.code === DEVICE_LOST) this.onDeviceLost();
    }
  }

  async #runJob(
    name: 'run' | 'score' | 'prompt',
    request: Request,
  ): Promise<RunResult | ScoreResult | PromptJobResult> {
    const { thread, params, stop, progress } = { ...request, thread: this.#thread };
    // The name was stored with its parameters when the request was made; their unions do not know that.
    const result =
      name === 'run'
        ? await thread.job(name, params as RunParams, stop, progress)
        : name === 'score'
          ? await thread.job(name, params as ScoreParams, stop, progress)
          : await thread.job(name, params as PromptJobParams, stop, progress);
    return { ...result, timings: { ...result.timings, loadMs: request.loadMs } };
  }

  async #ensureLoaded(request: Request): Promise<Loaded> {
    if (this.#loaded !== undefined && serves(this.#loaded, request.choice)) return this.#loaded.info;
    const { key, choice } = request;
    const loading = { key, stop: new SharedStop(), last: undefined as Progress | undefined };
    request.state = 'loading';
    this.#loading = loading;
    this.onStatus();
    try {
      const info = await this.#thread.job('load', choice, loading.stop, (progress) => {
        loading.last = progress;
        for (const waiter of this.#waitersOf(key)) waiter.progress(progress);
      });
      this.#loaded = { choice, info };
      for (const waiter of this.#waitersOf(key)) waiter.loadMs = info.loadMs;
      return info;
    } catch (error) {
      // They waited for this very load; each would only meet the same error again.
      if (!(error instanceof CancelledError)) {
        for (const waiter of this.#waitersOf(key)) {
          this.#queue.remove(waiter.client, waiter);
          waiter.fail(error);
        }
      }
      throw error;
    } finally {
      this.#loading = undefined;
      this.onStatus();
    }
  }

  /** Tells each waiting request how many are ahead of it, when that has changed. */
  #announce(): void {
    const running = this.#current === undefined ? 0 : 1;
    const loading = this.#loading;
    this.#queue.order().forEach((request, at) => {
      const ahead = at + running;
      if (request.ahead === ahead) return;
      request.ahead = ahead;
      request.progress({ kind: 'queued', ahead });
      if (loading?.key === request.key && loading.last !== undefined) request.progress(loading.last);
    });
    this.onStatus();
  }
}
