import { randomUUID } from 'node:crypto';
import * as vscode from 'vscode';
import {
  type AvailableModel,
  type CancelPullParams,
  type DoctorItem,
  type HubChoice,
  type InstalledParams,
  type LoadParams,
  Method,
  type ModelInfo,
  type Progress,
  type PullInfo,
  type PullParams,
  type Removed,
  type RepositoryInfo,
  type RunParams,
  type RunResult,
  type Status,
} from '../server/protocol';
import { messageOf, ServerGoneError, ServerKeepsStoppingError } from './errors';
import type { Link, LinkOptions } from './link';
import { loadParts } from './parts';
import type { Settings } from './settings';

/** What this window knows of the server. */
export type ServerState =
  | { readonly kind: 'off' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'on'; readonly status: Status }
  | { readonly kind: 'failed'; readonly message: string };

export interface ServerDependencies {
  readonly settings: () => Settings;
  /** The built `dist/server.js`. */
  readonly serverPath: string;
  readonly log: vscode.LogOutputChannel;
}

/** So many unexpected ends within this time, and a further start needs the user's `Restart`. */
const MOST_CRASHES = 3;
const CRASH_WINDOW_MS = 3 * 60_000;

/**
 * The life of the connection to the server. Nothing starts before the first request; a lost connection is opened again
 * by the next request only, so that a server that cannot live is never started in a loop. Opening, stopping and
 * restarting follow each other, never overlap.
 */
export class Server implements vscode.Disposable {
  private readonly deps: ServerDependencies;
  private readonly stateEmitter = new vscode.EventEmitter<ServerState>();
  readonly onDidChangeState = this.stateEmitter.event;
  private readonly pullEmitter = new vscode.EventEmitter<PullInfo>();
  /** Whatever becomes of installations, also of those that other windows began. */
  readonly onPull = this.pullEmitter.event;
  private current: ServerState = { kind: 'off' };
  private link: Link | undefined;
  private queue: Promise<unknown> = Promise.resolve();
  private crashes: number[] = [];
  /** Links whose end is intended. */
  private readonly leaving = new WeakSet<Link>();

  constructor(deps: ServerDependencies) {
    this.deps = deps;
  }

  get state(): ServerState {
    return this.current;
  }

  /** Runs a task; `onProgress` gets everything the server says until the result. Cancelling resolves with the text so far. */
  run(
    params: RunParams,
    onProgress: (progress: Progress) => void,
    token: vscode.CancellationToken,
  ): Promise<RunResult> {
    return this.request(Method.run, params, onProgress, token);
  }

  /** Any request of the protocol. `onProgress` gets everything that is said until the result. */
  async request<Result, Said = never>(
    method: string,
    params: object,
    onProgress?: (progress: Said) => void,
    token?: vscode.CancellationToken,
  ): Promise<Result> {
    const link = await this.open();
    if (onProgress === undefined) return this.send<Result>(link, method, params, token);
    const progressToken = randomUUID();
    const listener = link.onProgress(progressToken, onProgress);
    try {
      return await this.send<Result>(link, method, { ...params, progressToken }, token);
    } finally {
      listener.dispose();
    }
  }

  /** Loads the model of the settings without asking anything. */
  async load(params: LoadParams): Promise<void> {
    const link = await this.open();
    this.show(await this.send<Status>(link, Method.load, params));
  }

  async models(): Promise<ModelInfo[]> {
    return this.send(await this.open(), Method.models, null);
  }

  async doctor(): Promise<DoctorItem[]> {
    return this.send(await this.open(), Method.doctor, null);
  }

  /** What could be installed, and what of it fits this machine now. */
  async available(): Promise<AvailableModel[]> {
    return this.send(await this.open(), Method.available, null);
  }

  async repository(params: HubChoice): Promise<RepositoryInfo> {
    return this.send(await this.open(), Method.repository, params);
  }

  /** Begins an installation; `onPull` tells what becomes of it. */
  async pull(params: PullParams): Promise<PullInfo> {
    return this.send(await this.open(), Method.pull, params);
  }

  async pulls(): Promise<PullInfo[]> {
    return this.send(await this.open(), Method.pulls, null);
  }

  /** Undefined when no server runs: then none is started. */
  async pullsIfRunning(): Promise<PullInfo[] | undefined> {
    const link = await this.openIfRunning();
    return link === undefined ? undefined : this.send<PullInfo[]>(link, Method.pulls, null);
  }

  async cancelPull(params: CancelPullParams): Promise<PullInfo> {
    return this.send(await this.open(), Method.cancelPull, params);
  }

  async remove(params: InstalledParams): Promise<Removed> {
    return this.send(await this.open(), Method.remove, params);
  }

  /** Ends the server for every window, and so frees the GPU. Resolves to false when none was running. */
  stop(): Promise<boolean> {
    return this.serially(async () => {
      const link = this.link ?? (await (await this.module()).openLinkIfRunning(this.linkOptions()));
      if (link === undefined) return false;
      this.leaving.add(link);
      // The answer may be lost when the process is quick to end; that it ends is what counts.
      await Promise.race([link.request(Method.stop, null).catch(() => undefined), link.closed]);
      await link.closed;
      await processEnd(link.pid);
      this.forget(link, { kind: 'off' });
      return true;
    });
  }

  /** Ends the server and starts another, whatever happened before. */
  async restart(): Promise<void> {
    await this.stop();
    this.crashes = [];
    await this.open();
  }

  /** Leaves the server, for a connection with other settings at the next request. */
  reconnect(): Promise<void> {
    return this.serially(async () => {
      if (this.link !== undefined) await this.leave(this.link);
    });
  }

  /** Resolves when the server has been told that this window leaves. */
  async shutdown(): Promise<void> {
    await this.reconnect();
    this.dispose();
  }

  dispose(): void {
    this.stateEmitter.dispose();
    this.pullEmitter.dispose();
  }

  private open(): Promise<Link> {
    return this.serially(async () => {
      if (this.link !== undefined) return this.link;
      this.assertNotCrashing();
      this.change({ kind: 'starting' });
      try {
        const link = await (await this.module()).openLink(this.linkOptions());
        this.adopt(link);
        this.show(await this.send<Status>(link, Method.status, null));
        return link;
      } catch (error) {
        this.deps.log.error(`Server: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
        this.change({ kind: 'failed', message: messageOf(error) });
        throw error;
      }
    });
  }

  private openIfRunning(): Promise<Link | undefined> {
    return this.serially(async () => {
      if (this.link !== undefined) return this.link;
      const link = await (await this.module()).openLinkIfRunning(this.linkOptions());
      if (link === undefined) return undefined;
      this.adopt(link);
      this.show(await this.send<Status>(link, Method.status, null));
      return link;
    });
  }

  private adopt(link: Link): void {
    this.link = link;
    link.onPull((pull) => this.pullEmitter.fire(pull));
    link.onStatus((status) => this.show(status));
    void link.closed.then(() => {
      if (this.leaving.has(link)) return;
      // A server with nothing to do may leave; one that was in the middle of something has crashed.
      const idle =
        this.current.kind === 'on' && (this.current.status.state === 'idle' || this.current.status.state === 'ready');
      if (idle) {
        this.forget(link, { kind: 'off' });
        return;
      }
      this.crashes.push(Date.now());
      const error = new ServerGoneError();
      this.deps.log.error(`Server process ${link.pid} ended unexpectedly.`);
      this.forget(link, { kind: 'failed', message: error.message });
    });
    this.deps.log.info(`Connected to server process ${link.pid}.`);
  }

  private async leave(link: Link): Promise<void> {
    this.leaving.add(link);
    this.forget(link, { kind: 'off' });
    await link.close().catch((error: unknown) => this.deps.log.warn(`Leaving the server: ${messageOf(error)}`));
  }

  private forget(link: Link, state: ServerState): void {
    if (this.link === link) this.link = undefined;
    this.change(state);
  }

  /** A request that also fails when the connection ends without an answer. */
  private send<Result>(link: Link, method: string, params: unknown, token?: vscode.CancellationToken): Promise<Result> {
    return new Promise((resolve, reject) => {
      const gone = link.onClosed(() => reject(new ServerGoneError()));
      link.request<Result>(method, params, token).then(
        (result) => {
          gone.dispose();
          resolve(result);
        },
        (error: unknown) => {
          // A broken connection rejects in words that help nobody; the socket's end follows at once.
          if (isProtocolEnd(error)) return;
          gone.dispose();
          reject(error);
        },
      );
    });
  }

  private assertNotCrashing(): void {
    const since = Date.now() - CRASH_WINDOW_MS;
    this.crashes = this.crashes.filter((time) => time > since);
    if (this.crashes.length >= MOST_CRASHES) throw new ServerKeepsStoppingError(this.crashes.length);
  }

  private show(status: Status): void {
    this.change({ kind: 'on', status });
  }

  private change(state: ServerState): void {
    this.current = state;
    this.stateEmitter.fire(state);
  }

  private serially<Result>(action: () => Promise<Result>): Promise<Result> {
    const result = this.queue.then(action);
    this.queue = result.catch(() => undefined);
    return result;
  }

  private async module(): Promise<typeof import('./link')> {
    await loadParts();
    return import('./link');
  }

  private linkOptions(): LinkOptions {
    const { home, nodePath, lingerSeconds } = this.deps.settings();
    return {
      serverPath: this.deps.serverPath,
      lingerSeconds,
      log: this.deps.log,
      ...(home === undefined ? {} : { home }),
      ...(nodePath === undefined ? {} : { nodePath }),
    };
  }
}

/** The server ends itself within ten seconds of a stop, by force if it must. */
const END_TIMEOUT_MS = 15_000;
const END_POLL_MS = 20;

/** A process lives a moment longer than its connections, and its memory as long as the process. */
async function processEnd(pid: number): Promise<void> {
  const until = Date.now() + END_TIMEOUT_MS;
  while (Date.now() < until) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await new Promise((resolve) => setTimeout(resolve, END_POLL_MS));
  }
}

/** `ErrorCodes.ConnectionInactive` and `PendingResponseRejected` of JSON-RPC: the connection ended before the answer. */
const CONNECTION_ENDED: ReadonlySet<unknown> = new Set([-32096, -32097]);

function isProtocolEnd(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && CONNECTION_ENDED.has(error.code);
}
