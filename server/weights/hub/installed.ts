/** What is done with an installed model later: its files are compared with their sums, and it is removed. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { lstat, readdir, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CancelledError, FlanError } from '../../errors';
import type { Removed, Verified } from '../../protocol';
import { INT8_FILE } from '../checkpoint';
import { WeightFileError } from '../errors';
import { verifyWeightFile } from '../file';
import { type CancelSignal, errorCode, type Progress, throwIfCancelled } from '../small';
import { removeCached } from '../store';
import { readOrigin } from './origin';
import { Workspace } from './workspace';

export interface VerifyOptions {
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: CancelSignal;
}

/**
 * Reads all files of an installed model and compares them with their sums: the weights with the one in their header, the
 * others with those that were noted when the model was pulled.
 */
export async function verifyInstalled(name: string, dir: string, options: VerifyOptions = {}): Promise<Verified> {
  const files: Verified['files'][number][] = [];
  const check = async (path: string, read: () => Promise<number>) => {
    try {
      files.push({ path, bytes: await read() });
    } catch (error) {
      if (error instanceof CancelledError) throw error;
      const bytes = (await stat(join(dir, path)).catch(() => undefined))?.size ?? 0;
      files.push({ path, bytes, problem: problemOf(error, join(dir, path)) });
    }
  };
  const origin = await readOrigin(dir);
  const names = await readdir(dir);
  if (origin || names.includes(INT8_FILE)) {
    await check(INT8_FILE, async () => (await verifyWeightFile(join(dir, INT8_FILE), options)).fileBytes);
  }
  for (const { path, bytes, sha256 } of origin?.files ?? []) {
    options.onProgress?.({ message: `Checking ${path}`, fraction: 1 });
    await check(path, async () => {
      const found = await stat(join(dir, path));
      if (found.size !== bytes) throw new FlanError('size', `it has ${found.size} bytes instead of ${bytes}`);
      if (sha256 !== undefined && (await sumOf(join(dir, path), options.signal)) !== sha256) {
        throw new FlanError('checksum', 'its content is not what was downloaded (SHA-256 differs)');
      }
      return found.size;
    });
  }
  // Without an origin there is nothing to compare the other files with; that they are there, the list says.
  const listed = new Set(files.map(({ path }) => path));
  for (const path of origin ? [] : names.sort()) {
    const found = await stat(join(dir, path)).catch(() => undefined);
    if (found?.isFile() && !listed.has(path)) files.push({ path, bytes: found.size });
  }
  return { name, dir, ok: files.every(({ problem }) => problem === undefined), files };
}

function problemOf(error: unknown, path: string): string {
  if (errorCode(error) === 'ENOENT') return 'it is missing';
  if (!(error instanceof Error)) return String(error);
  if (error instanceof WeightFileError) {
    return error.message.replace(`${path}: `, '').replace(/\.? Convert or download the model again.*$/, '');
  }
  return error.message;
}

async function sumOf(path: string, signal: CancelSignal | undefined): Promise<string> {
  const hash = createHash('sha256');
  for await (const chunk of createReadStream(path, { highWaterMark: 1024 * 1024 })) {
    throwIfCancelled(signal);
    hash.update(chunk as Buffer);
  }
  return hash.digest('hex');
}

/**
 * Removes an installed model, what was converted from it, and an unfinished pull of it.
 *
 * @throws PullRunsError
 */
export async function removeInstalled(modelsDir: string, cacheDir: string, name: string): Promise<Removed> {
  const space = new Workspace(modelsDir, name);
  const lock = await space.lockNow();
  try {
    await space.recover();
    let freedBytes = await space.allocated();
    await space.discard();
    if (await space.isTaken()) {
      freedBytes += (await sizeOf(space.target)) + (await removeCached(space.target, cacheDir));
      // First out of the list, then away: what is half removed must not look like a model.
      await space.create(space.dir);
      await rename(space.target, space.folder);
      await space.discard();
    }
    return { name, dir: space.target, freedBytes };
  } finally {
    await lock.release();
  }
}

async function sizeOf(dir: string): Promise<number> {
  const found = await lstat(dir);
  // A link is removed, not what it leads to.
  if (!found.isDirectory()) return 0;
  let sum = 0;
  for (const name of await readdir(dir)) sum += (await lstat(join(dir, name))).size;
  return sum;
}

/** Removes an unfinished pull; false when there is none. @throws PullRunsError */
export async function discardPull(modelsDir: string, name: string): Promise<boolean> {
  const space = new Workspace(modelsDir, name);
  const there = await stat(space.dir).catch(() => undefined);
  if (!there) return false;
  const lock = await space.lockNow();
  try {
    await space.recover();
    await space.discard();
  } finally {
    await lock.release();
  }
  return true;
}
