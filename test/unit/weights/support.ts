/** What the tests of this folder share: small checkpoints, folders that are removed, errors that are waited for. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

export * from './checkpoints';

/** A folder that is removed after the tests of a file. */
export function temporaryFolder(): string {
  const dir = mkdtempSync(join(tmpdir(), 'flan-weights-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** Writes bytes into a new file of `folder` each time, and gives its path. */
export function filesIn(folder: string): (bytes: Uint8Array) => string {
  let count = 0;
  return (bytes) => {
    const path = join(folder, `${count++}.bin`);
    writeFileSync(path, bytes);
    return path;
  };
}

/** What a promise is rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof Error) return error;
    throw new Error(`rejected with ${String(error)}`);
  }
  throw new Error('was not rejected');
}
