/** Finding the running server: who it is (a small file in `run`), and a connection to its socket. */
import { createHash } from 'node:crypto';
import { createReadStream, readFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { type Paths, socketAddress } from '../paths';
import { isAlive } from './lock';

/** Written by the server once it listens; read by clients and by the next server. */
export interface ServerInfo {
  readonly pid: number;
  readonly socket: string;
  readonly version: string;
  readonly protocol: number;
  /** `buildOf` the code that it runs. */
  readonly build: string;
}

/** Tells one build of the server from another by what is in its files. In pieces: an editor's host has others waiting. */
export async function buildOf(serverPath: string): Promise<string> {
  const hash = createHash('sha1');
  for (const file of [serverPath, join(dirname(serverPath), 'worker.js')]) {
    try {
      for await (const piece of createReadStream(file)) hash.update(piece);
    } catch {
      // Missing: a build of its own kind. Starting it will say what is wrong.
    }
  }
  return hash.digest('hex');
}

/** A local connect is answered by the kernel at once; longer means that the machine is in trouble. */
const DIAL_TIMEOUT_MS = 2000;

/** Connects to a socket; undefined when nobody listens there. */
export function dial(address: string): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = createConnection(address);
    const timer = setTimeout(() => socket.destroy(new Error('timeout')), DIAL_TIMEOUT_MS);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.removeAllListeners('error');
      resolve(socket);
    });
    socket.once('error', () => {
      clearTimeout(timer);
      resolve(undefined);
    });
  });
}

/** What the running (or a killed) server wrote about itself; undefined when there is none or it cannot be read. */
export function readInfo(paths: Paths): ServerInfo | undefined {
  try {
    const info: unknown = JSON.parse(readFileSync(paths.info, 'utf8'));
    return isInfo(info) ? info : undefined;
  } catch {
    return undefined;
  }
}

function isInfo(value: unknown): value is ServerInfo {
  if (typeof value !== 'object' || value === null) return false;
  const info: Partial<Record<keyof ServerInfo, unknown>> = value;
  return typeof info.pid === 'number' && typeof info.socket === 'string' && typeof info.protocol === 'number';
}

/** A connection to the server that runs for this folder, if one does. The recorded address wins: it may differ by environment. */
export async function dialServer(paths: Paths): Promise<Socket | undefined> {
  const addresses = new Set<string>();
  const info = readInfo(paths);
  // A pipe outlives nobody: with its server dead, who answers there now is somebody else.
  if (info !== undefined && (process.platform !== 'win32' || isAlive(info.pid))) addresses.add(info.socket);
  if (process.platform !== 'win32') addresses.add(socketAddress(paths));
  for (const address of addresses) {
    const socket = await dial(address);
    if (socket !== undefined) return socket;
  }
  return undefined;
}
