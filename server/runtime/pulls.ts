/**
 * The pulls of this server. Each has a thread of its own and belongs to no client: windows come and go, and find it again.
 * What it fetched stays on the disk however it ends.
 */
import { isAbsolute } from 'node:path';
import { Worker } from 'node:worker_threads';
import { FlanError, UsageError } from '../errors';
import type { CancelPullParams, PullInfo, PullParams, PullState } from '../protocol';
import { inEnglish, say } from '../saying';
import { installName, parseRepository } from '../weights/hub/address';
import { defaultName } from '../weights/hub/cache';
import { ModelExistsError, PullRunsError } from '../weights/hub/errors';
import { discardPull } from '../weights/hub/installed';
import { unfinishedPulls, Workspace } from '../weights/hub/workspace';
import { type FromPull, type PullJob, STOP_PULL } from './pull-messages';

/** A stopped pull closes its connections and files; one that does not is ended. */
const STOP_MS = 5_000;

interface Running {
  readonly worker: Worker;
  readonly ended: Promise<void>;
}

const UNKNOWN = { bytes: 0, totalBytes: 0, bytesPerSecond: 0 } as const;

export class NoPullError extends FlanError {
  constructor(name: string) {
    super('no-pull', say('Nothing of the name {0} is being installed.', name));
  }
}

export class PullService {
  readonly #file: string;
  readonly #modelsDir: string;
  readonly #infos = new Map<string, PullInfo>();
  readonly #running = new Map<string, Running>();
  onChange: (info: PullInfo) => void = () => {};
  /** Called when the first pull begins and when the last one has ended. */
  onBusy: () => void = () => {};

  /** `file`: the built thread. */
  constructor(file: string, modelsDir: string) {
    this.#file = file;
    this.#modelsDir = modelsDir;
  }

  get busy(): boolean {
    return this.#running.size > 0;
  }

  /** Starts a pull, or finds the one that runs. @throws UsageError, ModelExistsError */
  async start(params: PullParams): Promise<PullInfo> {
    const { model, revision } = named(params.model);
    const name = params.name === undefined ? defaultName(params.model) : installName(params.name);
    for (let running = this.#running.get(name); running; running = this.#running.get(name)) {
      const before = this.#infos.get(name);
      if (before && !isOver(before.state)) {
        if (before.model === model && before.revision === revision) return before;
        throw new ModelExistsError(name, new Workspace(this.#modelsDir, name).target);
      }
      await running.ended; // Its result is known; its thread is about to end.
    }
    const info = { name, model, revision, state: 'preparing', message: `Looking for ${model}`, ...UNKNOWN } as const;
    this.#infos.set(name, info);
    const job: PullJob = { params, modelsDir: this.#modelsDir };
    const worker = new Worker(this.#file, { workerData: job });
    const ended = new Promise<void>((resolve) => {
      worker.on('exit', () => resolve());
    }).then(() => this.#exited(name));
    this.#running.set(name, { worker, ended });
    worker.on('message', (message: FromPull) => this.#heard(name, message));
    worker.on('error', (error) => {
      this.#change(name, { state: 'failed', error: { code: 'internal', message: error.message } });
    });
    if (this.#running.size === 1) this.onBusy();
    this.onChange(info);
    return info;
  }

  /** What runs, what ended here, and what lies unfinished on the disk. */
  async list(): Promise<PullInfo[]> {
    const known = [...this.#infos.values()];
    const names = new Set(known.filter(({ state }) => !isOver(state)).map(({ name }) => name));
    for (const unfinished of await unfinishedPulls(this.#modelsDir)) {
      if (names.has(unfinished.name)) continue;
      const ended = known.findIndex(({ name }) => name === unfinished.name);
      // How it ended is known better here; that it can go on, from the disk.
      if (ended >= 0) continue;
      const { process: owner, ...pull } = unfinished;
      const elsewhere = owner !== undefined && owner !== process.pid;
      const told = elsewhere
        ? ({ state: 'waiting', message: `Process ${owner} pulls it` } as const)
        : ({ state: 'paused', message: 'Unfinished' } as const);
      known.push({ ...pull, ...told, bytesPerSecond: 0 });
    }
    return known;
  }

  /** Resolves when it has ended. @throws NoPullError, PullRunsError for one that another process works on. */
  async cancel({ name, discard = false }: CancelPullParams): Promise<PullInfo> {
    const running = this.#running.get(name);
    if (running) await stopped(running);
    const there = discard && (await discardPull(this.#modelsDir, installName(name)));
    const info = this.#infos.get(name);
    const paused = info ? undefined : (await this.list()).find((other) => other.name === name);
    if (!info && !there && !paused) throw new NoPullError(name);
    if (paused?.state === 'waiting') throw new PullRunsError(name, (await this.#owner(name)) ?? 0);
    const last = info ?? paused ?? { name, model: name, revision: '', ...UNKNOWN };
    const ended: PullInfo = { ...last, state: 'cancelled', message: 'Stopped', bytesPerSecond: 0 };
    if (info?.state === 'done') return info;
    if (discard) this.#infos.delete(name);
    else if (info) this.#infos.set(name, ended);
    this.onChange(ended);
    return ended;
  }

  /** Stops all of them; what they fetched is kept. */
  async dispose(): Promise<void> {
    await Promise.all([...this.#running.values()].map(stopped));
  }

  async #owner(name: string): Promise<number | undefined> {
    return (await unfinishedPulls(this.#modelsDir)).find((pull) => pull.name === name)?.process;
  }

  #heard(name: string, message: FromPull): void {
    switch (message.kind) {
      case 'progress':
        this.#change(name, message.progress);
        break;
      case 'done': {
        const { dir, notes, bytes } = message.pulled;
        this.#change(name, { state: 'done', message: 'Installed', dir, notes, bytes, totalBytes: bytes });
        break;
      }
      case 'failed':
        if (message.code === 'cancelled') this.#change(name, { state: 'cancelled', message: 'Stopped' });
        else {
          const { kind: _, ...error } = message;
          this.#change(name, { state: 'failed', message: message.message, error });
        }
        break;
    }
  }

  #change(name: string, change: Partial<PullInfo> & { readonly state: PullState }): void {
    const before = this.#infos.get(name);
    if (!before || isOver(before.state)) return;
    const { secondsLeft: _, ...rest } = before;
    const info: PullInfo = { ...rest, bytesPerSecond: 0, ...change };
    this.#infos.set(name, info);
    this.onChange(info);
  }

  #exited(name: string): void {
    this.#running.delete(name);
    const saying = say('The download ended unexpectedly. Start it again: it goes on from where it was.');
    const message = inEnglish(saying);
    this.#change(name, { state: 'failed', message, error: { code: 'internal', message, saying } });
    if (this.#running.size === 0) this.onBusy();
  }
}

function isOver(state: PullState): boolean {
  return state === 'done' || state === 'failed' || state === 'cancelled';
}

function named(model: string): { readonly model: string; readonly revision: string } {
  if (model === '') throw new UsageError('model is empty: give owner/name as on the hub, or a folder.');
  if (isAbsolute(model)) return { model, revision: '' };
  const { repository, revision } = parseRepository(model);
  return { model: repository, revision };
}

async function stopped({ worker, ended }: Running): Promise<void> {
  worker.postMessage(STOP_PULL);
  const timer = setTimeout(() => void worker.terminate(), STOP_MS);
  await ended;
  clearTimeout(timer);
}
