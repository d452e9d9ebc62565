/**
 * Becoming the one server of this user and machine: take the start lock, see that nobody answers on the socket, clear
 * what a killed server left, listen, and say so in `run`.
 */
import { randomBytes } from 'node:crypto';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { FlanError } from '../errors';
import { createFolders, type Paths, socketAddress } from '../paths';
import { PROTOCOL } from '../protocol';
import { dialServer, readInfo, type ServerInfo } from './dial';
import { StartLock } from './lock';

/** Longer than a lock can be stale (lock.ts), so that a start after a kill always comes through. */
const LOCK_TIMEOUT_MS = 15_000;
const LOCK_POLL_MS = 20;

export interface Listener {
  readonly info: ServerInfo;
  /** Takes the server's files away and stops accepting; open connections stay. Safe to call twice. */
  close(): void;
}

type About = Pick<ServerInfo, 'version' | 'build'>;

/** Who gets the connections, and must know the token before the first of them. */
export interface Acceptor {
  token: string;
  accept(socket: Socket): void;
}

/**
 * Listens on the private socket; `clients` gets the token and every connection. Returns undefined when another server already runs.
 * Throws FlanError when the lock cannot be had or the system refuses the socket.
 */
export async function listen(paths: Paths, about: About, clients: Acceptor): Promise<Listener | undefined> {
  createFolders(paths);
  const until = Date.now() + LOCK_TIMEOUT_MS;
  while (Date.now() < until) {
    const lock = StartLock.tryTake(paths.lock);
    try {
      if (await isAnswering(paths)) return undefined;
      if (lock !== undefined) {
        const listener = await open(paths, about, clients, lock);
        if (listener !== undefined) return listener;
      }
    } finally {
      lock?.release();
    }
    await sleep(LOCK_POLL_MS);
  }
  throw new FlanError('lock', `Another program holds ${paths.lock}. If no flan server is starting, delete that file.`);
}

async function isAnswering(paths: Paths): Promise<boolean> {
  const socket = await dialServer(paths);
  socket?.destroy();
  return socket !== undefined;
}

async function open(paths: Paths, about: About, clients: Acceptor, lock: StartLock): Promise<Listener | undefined> {
  const address = socketAddress(paths);
  if (!lock.held) return undefined;
  if (process.platform !== 'win32') rmSync(address, { force: true });
  const token = randomBytes(32).toString('hex');
  const info: ServerInfo = { ...about, pid: process.pid, socket: address, protocol: PROTOCOL };
  clients.token = token;
  // Before listening: whoever can connect finds the token of this server, not of one that was killed.
  write(paths.token, token);
  write(paths.info, `${JSON.stringify(info)}\n`);
  const server = createServer((socket) => clients.accept(socket));
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        new FlanError('socket', `Cannot listen on ${address}: ${error.message}. Set FLAN_HOME to another folder.`),
      ),
    );
    server.listen(address, resolve);
  });
  server.removeAllListeners('error');
  server.on('error', (error) => console.error(`socket: ${error.message}`));
  return { info, close: closer(server, paths) };
}

function closer(server: Server, paths: Paths): () => void {
  let open = true;
  return () => {
    if (!open) return;
    open = false;
    // The files go while the socket still answers: no other server can have written its own yet.
    if (readInfo(paths)?.pid === process.pid) {
      rmSync(paths.info, { force: true });
      rmSync(paths.token, { force: true });
    }
    server.close();
  };
}

function write(path: string, content: string): void {
  const temporary = `${path}.${process.pid}.tmp`;
  writeFileSync(temporary, content, { mode: 0o600 });
  renameSync(temporary, path);
}
