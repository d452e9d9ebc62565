/**
 * A lock file: one process at a time makes a certain file. What is made stays correct without it (each maker has its own
 * temporary file); the lock saves the second one the work.
 */
import { randomUUID } from 'node:crypto';
import { open, readFile, rm, stat, utimes } from 'node:fs/promises';
import { hostname } from 'node:os';
import { type CancelSignal, errorCode, throwIfCancelled } from './small';
import { diskErrors } from './writer';

/** How often the owner shows that it lives. */
const BEAT_MS = 2_000;

/** An owner that was silent for so long is gone, even if another process has got its number by now. */
const SILENT_MS = 30_000;

/** How often a waiting process looks. */
const POLL_MS = 200;

export interface Lock {
  /** Whether another owner had to be waited for. */
  readonly waited: boolean;
  release(): Promise<void>;
}

/**
 * Takes the lock, waiting for an owner that lives and taking over from one that does not.
 *
 * @param onWait called once with the owner's process number, when it has to be waited for.
 * @throws CancelledError while waiting; DiskSpaceError when the lock file cannot be written.
 */
export async function acquireLock(path: string, signal?: CancelSignal, onWait?: (pid: number) => void): Promise<Lock> {
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), id: randomUUID() });
  for (let waited = false; ; ) {
    throwIfCancelled(signal);
    if (await create(path, mine)) return held(path, mine, waited);
    const owner = await ownerOf(path);
    if (owner === undefined) continue; // It was released in between.
    if (!owner.alive) {
      await removeIf(path, owner.text);
      continue;
    }
    if (!waited) onWait?.(owner.pid);
    waited = true;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

function held(path: string, mine: string, waited: boolean): Lock {
  const beat = setInterval(() => {
    const now = new Date();
    utimes(path, now, now).catch(() => {}); // Gone: then there is nothing to keep alive.
  }, BEAT_MS);
  beat.unref();
  return {
    waited,
    release: async () => {
      clearInterval(beat);
      await removeIf(path, mine);
    },
  };
}

async function create(path: string, text: string): Promise<boolean> {
  try {
    const handle = await open(path, 'wx');
    try {
      await handle.writeFile(text);
    } catch (error) {
      await rm(path, { force: true });
      throw error;
    } finally {
      await handle.close();
    }
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    await diskErrors(path, () => Promise.reject(error));
    return false;
  }
}

async function ownerOf(path: string): Promise<{ text: string; pid: number; alive: boolean } | undefined> {
  try {
    const silentMs = Date.now() - (await stat(path)).mtimeMs;
    const text = await readFile(path, 'utf8');
    if (silentMs > SILENT_MS) return { text, pid: 0, alive: false };
    const owner = parse(text);
    // Half-written: its owner is at it, or died at it; time will tell.
    if (!owner) return { text, pid: 0, alive: true };
    return { text, pid: owner.pid, alive: owner.host !== hostname() || isRunning(owner.pid) };
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** The number of the process that holds a lock and lives; undefined when nobody does, or it cannot be told. */
export async function lockOwner(path: string): Promise<number | undefined> {
  const owner = await ownerOf(path).catch(() => undefined);
  return owner?.alive && owner.pid > 0 ? owner.pid : undefined;
}

function parse(text: string): { pid: number; host: string } | undefined {
  try {
    const { pid, host } = JSON.parse(text) as { pid: unknown; host: unknown };
    return typeof pid === 'number' && typeof host === 'string' ? { pid, host } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a process of this number runs on this machine. */
export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM'; // There is one, of another user.
  }
}

/** Removes the lock unless another owner has it by now. */
async function removeIf(path: string, text: string): Promise<void> {
  if ((await readFile(path, 'utf8').catch(() => undefined)) === text) await rm(path, { force: true });
}
