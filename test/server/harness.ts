/**
 * A real server of its own for each test: a fresh FLAN_HOME, clients as front ends connect, the built command line, and
 * at the end the proof that no process is left. Runs against dist/ (node esbuild.mjs).
 */
import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type CancellationToken, createMessageConnection, type MessageConnection } from 'vscode-jsonrpc/node';
import { type Connection, connect } from '../../server/connect';
import { flanPaths, type Paths } from '../../server/paths';
import {
  Method,
  type Progress,
  type PromptProgress,
  type RunParams,
  type RunResult,
  type Status,
} from '../../server/protocol';
import { readInfo } from '../../server/rpc/dial';
import { isAlive } from '../../server/rpc/lock';

const root = join(import.meta.dirname, '..', '..');
export const SERVER = join(root, 'dist', 'server.js');
export const CLI = join(root, 'dist', 'cli.js');
export const STARTER = join(root, 'models', 'starter');

/** Far more than a step or a start takes on a busy two-core machine. */
const PATIENCE_MS = 60_000;

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly ms: number;
}

export class Home {
  readonly paths: Paths;
  readonly #clients: Client[] = [];
  readonly #pids = new Set<number>();

  private constructor(dir: string) {
    this.paths = flanPaths(dir);
  }

  static create(): Home {
    if (!existsSync(SERVER)) throw new Error('dist/ is not built: run node esbuild.mjs first.');
    return new Home(mkdtempSync(join(tmpdir(), 'flan-test-')));
  }

  /** The environment of every process of this test. */
  env(extra: NodeJS.ProcessEnv = {}): NodeJS.ProcessEnv {
    return { ...process.env, FLAN_HOME: this.paths.home, ...extra };
  }

  /** A client that is introduced already. `linger` matters to the one that starts the server. */
  async client(linger = 60, serverPath = SERVER): Promise<Client> {
    const client = await this.raw(linger, serverPath);
    await client.initialize();
    return client;
  }

  /** A client that has not said who it is. */
  async raw(linger = 60, serverPath = SERVER): Promise<Client> {
    const connection = await connect({ home: this.paths.home, serverPath, linger, client: 'test' });
    this.#pids.add(connection.pid);
    const client = new Client(connection);
    this.#clients.push(client);
    return client;
  }

  get pid(): number | undefined {
    return readInfo(this.paths)?.pid;
  }

  get log(): string {
    return existsSync(this.paths.log) ? readFileSync(this.paths.log, 'utf8') : '';
  }

  start(args: readonly string[], env: NodeJS.ProcessEnv = {}): ChildProcessWithoutNullStreams {
    return spawn(process.execPath, [CLI, ...args], { env: this.env(env), cwd: this.paths.home });
  }

  /** Runs the command line to its end. */
  flan(
    args: readonly string[],
    { input = '', env = {} }: { input?: string; env?: NodeJS.ProcessEnv } = {},
  ): Promise<Ran> {
    const child = this.start(args, env);
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    return finished(child).finally(() => {
      if (this.pid !== undefined) this.#pids.add(this.pid);
    });
  }

  /** Ends everything of this test; throws when a server outlives a polite request and SIGTERM. */
  async cleanup(): Promise<void> {
    if (this.pid !== undefined) this.#pids.add(this.pid);
    for (const client of this.#clients) client.close();
    for (const pid of this.#pids) {
      if (isAlive(pid)) process.kill(pid, 'SIGTERM');
    }
    const left: number[] = [];
    for (const pid of this.#pids) {
      if (!(await until(() => !isAlive(pid)))) {
        left.push(pid);
        process.kill(pid, 'SIGKILL');
      }
    }
    const log = this.log;
    rmSync(this.paths.home, { recursive: true, force: true });
    if (left.length > 0) throw new Error(`Servers that did not end on SIGTERM: ${left.join(', ')}\n${log}`);
  }
}

export class Client {
  readonly connection: Connection;
  readonly rpc: MessageConnection;
  readonly statuses: Status[] = [];
  readonly #progress = new Map<string | number, (progress: PromptProgress) => void>();
  readonly #gone: Promise<never>;
  #token = 1;
  closed = false;

  constructor(connection: Connection) {
    this.connection = connection;
    this.rpc = createMessageConnection(connection.reader, connection.writer);
    this.#gone = new Promise((_, reject) => {
      connection.socket.once('close', () => {
        this.closed = true;
        reject(new Error('connection closed'));
      });
    });
    this.#gone.catch(() => {});
    connection.socket.on('error', () => {});
    this.rpc.onNotification('$/progress', ({ token, value }: { token: string | number; value: PromptProgress }) =>
      this.#progress.get(token)?.(value),
    );
    this.rpc.onNotification(Method.statusChanged, (status: Status) => void this.statuses.push(status));
    this.rpc.listen();
  }

  initialize(options: unknown = this.connection.hello): Promise<{ serverInfo: { name: string; version: string } }> {
    return this.request('initialize', {
      processId: process.pid,
      rootUri: null,
      capabilities: {},
      initializationOptions: options,
    });
  }

  request<R>(method: string, params: object | null = null, token?: CancellationToken): Promise<R> {
    // An undefined argument would be sent as one.
    const args = [...(params === null ? [] : [params]), ...(token === undefined ? [] : [token])];
    const answer: Promise<R> = this.rpc.sendRequest(method, ...args);
    return Promise.race([answer, this.#gone]);
  }

  run(
    params: RunParams,
    onProgress: (progress: Progress) => void = () => {},
    token?: CancellationToken,
  ): Promise<RunResult> {
    const progressToken = this.#token++;
    // A run has no other progress than this.
    this.#progress.set(progressToken, onProgress as (progress: PromptProgress) => void);
    return this.request<RunResult>(Method.run, { ...params, progressToken }, token);
  }

  /** A request about prompt sets, with its progress. */
  prompt<R>(
    method: string,
    params: object,
    onProgress: (progress: PromptProgress) => void,
    token?: CancellationToken,
  ): Promise<R> {
    const progressToken = this.#token++;
    this.#progress.set(progressToken, onProgress);
    return this.request<R>(method, { ...params, progressToken }, token);
  }

  status(): Promise<Status> {
    return this.request<Status>(Method.status);
  }

  close(): void {
    this.connection.socket.destroy();
  }
}

/** Waits until `condition` holds; false when it does not in time. */
export async function until(condition: () => boolean | Promise<boolean>, ms = PATIENCE_MS): Promise<boolean> {
  const end = Date.now() + ms;
  while (Date.now() < end) {
    if (await condition()) return true;
    await sleep(10);
  }
  return condition();
}

export async function finished(child: ChildProcessWithoutNullStreams): Promise<Ran> {
  const start = performance.now();
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    stdout += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    stderr += text;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  return { code, stdout, stderr, ms: performance.now() - start };
}
