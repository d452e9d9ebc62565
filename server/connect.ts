/**
 * Finds the server of this user, or starts it. For every front end: no model code, no `vscode`.
 *
 * The server is detached and outlives its starter; what it prints goes to a log file, whose last lines are quoted when
 * it does not come up. Several clients may start one at once: all but one of those processes end by themselves.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, renameSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  createMessageConnection,
  type MessageReader,
  type MessageWriter,
  SocketMessageReader,
  SocketMessageWriter,
} from 'vscode-jsonrpc/node';
import { FlanError } from './errors';
import { createFolders, flanHome, flanPaths, type Paths } from './paths';
import { type Hello, Method, PROTOCOL } from './protocol';
import { buildOf, dialServer, readInfo } from './rpc/dial';
import { isAlive } from './rpc/lock';

export interface ConnectOptions {
  /** FLAN_HOME; default: the environment's or the platform's. */
  readonly home?: string;
  /** The built `dist/server.js`. */
  readonly serverPath: string;
  /** The program that runs it; default: the one that runs this. Electron's works too. */
  readonly nodePath?: string;
  /** Seconds that a server started now stays after its last client. */
  readonly linger?: number;
  /** Who connects, for the server's log: `editor`, `cli`. */
  readonly client: string;
  /** How long a server may take to answer; default 20 s. */
  readonly timeoutMs?: number;
}

export interface Connection {
  readonly socket: Socket;
  readonly reader: MessageReader;
  readonly writer: MessageWriter;
  /** To be sent as `initializationOptions` of `initialize`. */
  readonly hello: Hello;
  readonly token: string;
  readonly pid: number;
  /** True when this call started the server. */
  readonly started: boolean;
  /** The server's log file. */
  readonly log: string;
}

/** The server did not come up. */
export class ServerStartError extends FlanError {
  constructor(why: string, log: string, from: number) {
    const tail = lastLines(log, from);
    super('server-start', `The flan server ${why}. ${tail === '' ? '' : `It said: ${tail} `}The whole log: ${log}`);
  }
}

/** A server of another version holds the socket. */
export class OtherVersionError extends FlanError {
  readonly pid: number;

  constructor(pid: number, version: string) {
    super(
      'other-version',
      `A flan server of another version (${version}, process ${pid}) is running. Run \`flan stop\` with that version or end process ${pid}, then try again.`,
    );
    this.pid = pid;
  }
}

const START_TIMEOUT_MS = 20_000;
const POLL_MS = 10;
const REPLACE_TIMEOUT_MS = 2000;
/** A little more than a server gives itself to free a model. */
const LEAVE_TIMEOUT_MS = 12_000;
/** A log that has reached this size is put aside when the next server starts; one older log is kept. */
const MAX_LOG_BYTES = 1024 * 1024;
const TAIL_LINES = 4;

/** Connects to the running server, or starts one first. Throws ServerStartError or OtherVersionError. */
export async function connect(options: ConnectOptions): Promise<Connection> {
  const paths = flanPaths(options.home ?? flanHome());
  const found = await find(paths, options.client, { build: await buildOf(options.serverPath) });
  if (found !== undefined) return found;

  if (!existsSync(options.serverPath)) {
    throw new FlanError('server-missing', `The flan server is not at ${options.serverPath}. Install flan again.`);
  }
  createFolders(paths);
  const until = Date.now() + (options.timeoutMs ?? START_TIMEOUT_MS);
  let child = launch(paths, options);
  while (Date.now() < until) {
    await sleep(POLL_MS);
    const connection = await find(paths, options.client, { started: true });
    if (connection !== undefined) return connection;
    if (child.failure() !== undefined) throw new ServerStartError(child.failure() ?? '', paths.log, child.logStart);
    // Our process left because another server was there, and that one left before we reached it.
    if (child.leftForAnother()) child = launch(paths, options);
  }
  const seconds = (options.timeoutMs ?? START_TIMEOUT_MS) / 1000;
  throw new ServerStartError(`did not answer within ${seconds} s`, paths.log, child.logStart);
}

/** Connects to the running server; undefined when none runs. Starts nothing. */
export function connectIfRunning(options: Pick<ConnectOptions, 'home' | 'client'>): Promise<Connection | undefined> {
  return find(flanPaths(options.home ?? flanHome()), options.client, {});
}

interface FindOptions {
  readonly started?: boolean;
  /** A server of another build that nobody uses is asked to leave: it may be the one before an update. */
  readonly build?: string;
}

async function find(paths: Paths, client: string, options: FindOptions): Promise<Connection | undefined> {
  const socket = await dialServer(paths);
  if (socket === undefined) return undefined;
  const info = readInfo(paths);
  const token = readToken(paths);
  if (info === undefined || token === undefined) {
    // It is just leaving: a server takes its files away before it stops listening.
    socket.destroy();
    return undefined;
  }
  if (options.build !== undefined && options.build !== info.build) {
    return (await replace(socket, token, info.pid)) ? undefined : find(paths, client, {});
  }
  if (info.protocol !== PROTOCOL) {
    socket.destroy();
    throw new OtherVersionError(info.pid, info.version);
  }
  const hello: Hello = { token, protocol: PROTOCOL, client };
  return {
    socket,
    reader: new SocketMessageReader(socket),
    writer: new SocketMessageWriter(socket),
    hello,
    token,
    pid: info.pid,
    started: options.started === true,
    log: paths.log,
  };
}

/** Asks a server of another build to leave; true when it has. The socket is used up. */
async function replace(socket: Socket, token: string, pid: number): Promise<boolean> {
  const rpc = createMessageConnection(new SocketMessageReader(socket), new SocketMessageWriter(socket));
  socket.on('error', () => {});
  rpc.listen();
  const leaves = await Promise.race([
    rpc.sendRequest<boolean>(Method.replace, { token }).catch(() => false),
    sleep(REPLACE_TIMEOUT_MS, false, { ref: false }),
  ]);
  rpc.dispose();
  socket.destroy();
  if (!leaves) return false;
  // It frees its device before it ends; the next one must not look at the memory before that.
  const until = Date.now() + LEAVE_TIMEOUT_MS;
  while (isAlive(pid) && Date.now() < until) await sleep(POLL_MS);
  return true;
}

interface Launched {
  /** Why the process is not going to serve; undefined while it may. */
  failure(): string | undefined;
  leftForAnother(): boolean;
  /** Size of the log before this start. */
  readonly logStart: number;
}

function launch(paths: Paths, options: ConnectOptions): Launched {
  rotate(paths.log);
  const log = openSync(paths.log, 'a', 0o600);
  const logStart = fstatSync(log).size;
  let child: ChildProcess;
  let error: string | undefined;
  try {
    const args = [options.serverPath, '--home', paths.home];
    if (options.linger !== undefined) args.push('--linger', String(options.linger));
    child = spawn(options.nodePath ?? process.execPath, args, {
      detached: true,
      stdio: ['ignore', log, log],
      windowsHide: true,
      cwd: paths.home,
      env: serverEnvironment(),
    });
  } finally {
    closeSync(log);
  }
  child.once('error', (cause) => {
    error = `could not be started (${cause.message})`;
  });
  child.unref();
  return {
    logStart,
    failure: () => {
      if (error !== undefined || child.exitCode === 0) return error;
      if (child.signalCode !== null) return `was ended by ${child.signalCode} while it started`;
      return child.exitCode === null ? undefined : `ended while it started (exit code ${child.exitCode})`;
    },
    leftForAnother: () => child.exitCode === 0,
  };
}

/** The environment of this process, without what is meant for this process alone. */
function serverEnvironment(): NodeJS.ProcessEnv {
  // A debugger that attaches by NODE_OPTIONS would hold the server up, or make it fail where its files are not.
  const { NODE_OPTIONS: _options, VSCODE_INSPECTOR_OPTIONS: _inspector, ...env } = process.env;
  // Electron's program behaves as Node with this; Node ignores it.
  return { ...env, ELECTRON_RUN_AS_NODE: '1' };
}

function rotate(log: string): void {
  try {
    if (statSync(log).size > MAX_LOG_BYTES) renameSync(log, `${log}.1`);
  } catch {
    // No log yet, or another client put it aside just now.
  }
}

function readToken(paths: Paths): string | undefined {
  try {
    return readFileSync(paths.token, 'utf8').trim();
  } catch {
    return undefined;
  }
}

/** The last lines that were written to the log after its first `from` bytes, as one line; empty when there are none. */
function lastLines(log: string, from: number): string {
  try {
    const written = readFileSync(log).subarray(from).toString('utf8').trimEnd();
    return written.split('\n').slice(-TAIL_LINES).join(' | ');
  } catch {
    return '';
  }
}
