/**
 * The start lock: a file with the holder's process id. It is held only while a server looks for another one and begins
 * to listen; afterwards the answering socket itself shows that a server is there. So a lock that is old, or whose
 * holder is dead (kill -9 in those milliseconds), is stale and may be broken.
 */
import { randomUUID } from 'node:crypto';
import { linkSync, readFileSync, renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs';

/** Far longer than a start holds the lock; guards against a process id that was given to another program meanwhile. */
const STALE_AFTER_MS = 10_000;

export class StartLock {
  readonly #path: string;
  readonly #content: string;

  private constructor(path: string, content: string) {
    this.#path = path;
    this.#content = content;
  }

  /** Takes the lock, or returns undefined when another process holds it. Breaks a stale one. */
  static tryTake(path: string): StartLock | undefined {
    const content = `${process.pid} ${randomUUID()}\n`;
    try {
      writeFileSync(path, content, { flag: 'wx', mode: 0o600 });
      return new StartLock(path, content);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
      breakStale(path);
      return undefined;
    }
  }

  /** False when somebody broke this lock, taking us for dead. */
  get held(): boolean {
    return read(this.#path) === this.#content;
  }

  release(): void {
    if (this.held) unlinkSync(this.#path);
  }
}

function breakStale(path: string): void {
  const content = read(path);
  if (content === undefined || !isStale(path, content)) return;
  // Two processes may break at once: only a rename tells which file was really moved away.
  const aside = `${path}.${randomUUID()}`;
  try {
    renameSync(path, aside);
  } catch {
    return;
  }
  if (read(aside) !== content) {
    try {
      linkSync(aside, path);
    } catch {
      // A third process holds the lock by now; the owner of the moved one sees that in `held`.
    }
  }
  unlinkSync(aside);
}

function isStale(path: string, content: string): boolean {
  const pid = Number.parseInt(content, 10);
  try {
    if (Date.now() - statSync(path).mtimeMs > STALE_AFTER_MS) return true;
  } catch {
    return false;
  }
  // Empty: its writer is between creating and writing it.
  return Number.isInteger(pid) && !isAlive(pid);
}

/** Whether a process of this id exists, whoever owns it. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
