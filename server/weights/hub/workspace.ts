/**
 * Where a pull lies until it is whole: `models/.pulls/NAME/`, on the same disk as what it becomes. `journal` tells what is
 * done; `folder/` is the model's folder to be. Lists of models do not see it.
 */
import { lstat, mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { CancelledError } from '../../errors';
import { INT8_FILE } from '../checkpoint';
import { inspectWeightFile } from '../file';
import { acquireLock, type Lock, lockOwner } from '../lock';
import { syncFolder } from '../make';
import { errorCode } from '../small';
import { diskErrors } from '../writer';
import { ModelExistsError, PullRunsError } from './errors';
import { type ReadJournal, readJournal } from './journal';
import { readOrigin } from './origin';
import type { Pulled } from './progress';

const PULLS = '.pulls';

export class Workspace {
  readonly name: string;
  /** The model's folder when it is whole. */
  readonly target: string;
  readonly dir: string;
  readonly folder: string;
  /** The weight file until it is whole. */
  readonly partial: string;
  readonly weights: string;
  readonly journal: string;
  readonly #models: string;

  constructor(modelsDir: string, name: string) {
    this.#models = modelsDir;
    this.name = name;
    this.target = join(modelsDir, name);
    this.dir = join(modelsDir, PULLS, name);
    this.folder = join(this.dir, 'folder');
    this.partial = join(this.folder, `${INT8_FILE}.partial`);
    this.weights = join(this.folder, INT8_FILE);
    this.journal = join(this.dir, 'journal');
  }

  /** One pull of a name at a time, on this machine. */
  async lock(signal: AbortSignal, onWait?: (pid: number) => void): Promise<Lock> {
    const pulls = join(this.#models, PULLS);
    await diskErrors(pulls, () => mkdir(pulls, { recursive: true }));
    return acquireLock(join(pulls, `${this.name}.lock`), signal, onWait);
  }

  /** Whether something lies at the model's place. */
  isTaken(): Promise<boolean> {
    return lstat(this.target).then(
      () => true,
      () => false,
    );
  }

  /** As `lock`, but an owner is not waited for. @throws PullRunsError */
  async lockNow(): Promise<Lock> {
    const waiting = new AbortController();
    let owner = 0;
    try {
      return await this.lock(waiting.signal, (pid) => {
        owner = pid;
        waiting.abort();
      });
    } catch (error) {
      throw error instanceof CancelledError ? new PullRunsError(this.name, owner) : error;
    }
  }

  /** `folder` is not made where a conversion makes it. */
  async create(folder = this.folder): Promise<void> {
    await diskErrors(folder, () => mkdir(folder, { recursive: true }));
  }

  /** Removes what was fetched. */
  async discard(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
  }

  /** Bytes that its files take on the disk. */
  async allocated(): Promise<number> {
    let sum = 0;
    for (const name of await readdir(this.folder).catch(() => [])) {
      const { blocks, size } = await stat(join(this.folder, name));
      // Files are written at many places: what was not reached yet takes no room. Windows does not say.
      sum += blocks > 0 ? Math.min(size, blocks * 512) : 0;
    }
    return sum;
  }

  /**
   * Only an earlier state of the same model may be replaced: one that was pulled from the same repository, or that was
   * converted from the same files.
   *
   * @throws ModelExistsError
   */
  async checkTarget(same: { readonly repository?: string; readonly source?: string }): Promise<void> {
    const origin = await readOrigin(this.target);
    if (origin && origin.repository === same.repository) return;
    const names = await readdir(this.target).catch((error: unknown) => {
      if (errorCode(error) === 'ENOENT') return [];
      throw new ModelExistsError(this.name, this.target);
    });
    if (names.length === 0) return;
    const file = await inspectWeightFile(join(this.target, INT8_FILE)).catch(() => undefined);
    if (same.source === undefined ? origin === undefined && file : file?.source === same.source) return;
    throw new ModelExistsError(this.name, this.target);
  }

  /** Puts an earlier model back that was moved aside when a pull was killed. */
  async recover(): Promise<void> {
    if (await this.isTaken()) return;
    await rename(join(this.dir, 'before'), this.target).catch(() => {}); // There is none, as nearly always.
  }

  /** Gives the finished folder its place. An earlier model is moved aside first, and back if that fails. */
  async install(repository?: string): Promise<void> {
    const { source } = await inspectWeightFile(this.weights);
    // It may have changed during a long download.
    await this.checkTarget({ source, ...(repository === undefined ? {} : { repository }) });
    const aside = join(this.dir, 'before');
    await rm(aside, { recursive: true, force: true });
    let moved = false;
    try {
      await rename(this.target, aside);
      moved = true;
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw error;
    }
    try {
      await diskErrors(this.target, () => rename(this.folder, this.target));
    } catch (error) {
      if (moved) await rename(aside, this.target);
      throw error;
    }
    await syncFolder(this.#models);
    await this.discard();
  }
}

/** What is installed under the name, if it is this commit's. */
export async function installedAs(
  space: Workspace,
  { repository, commit }: { readonly repository: string; readonly commit: string },
): Promise<Pulled | undefined> {
  const origin = await readOrigin(space.target);
  if (origin?.repository !== repository || origin.commit !== commit) return undefined;
  const file = await inspectWeightFile(join(space.target, INT8_FILE)).catch(() => undefined);
  if (!file) return undefined;
  await space.discard();
  const notes = [`${repository} is installed already.`];
  return { name: space.name, dir: space.target, bytes: file.fileBytes, made: false, notes };
}

/** A pull that was begun and is not whole. */
export interface Unfinished {
  readonly name: string;
  readonly model: string;
  readonly revision: string;
  /** Bytes that need not be fetched again, and of all. */
  readonly bytes: number;
  readonly totalBytes: number;
  /** The one that works on it now. */
  readonly process?: number;
}

export async function unfinishedPulls(modelsDir: string): Promise<Unfinished[]> {
  const found: Unfinished[] = [];
  for (const name of (await readdir(join(modelsDir, PULLS)).catch(() => [])).sort()) {
    const journal = await readJournal(new Workspace(modelsDir, name).journal).catch(() => undefined);
    if (!journal) continue;
    const { model, revision, totalBytes } = journal.head;
    const owner = await lockOwner(join(modelsDir, PULLS, `${name}.lock`));
    const process = owner === undefined ? {} : { process: owner };
    found.push({ name, model, revision, bytes: reachedIn(journal), totalBytes, ...process });
  }
  return found;
}

/** Bytes that need not be fetched again. */
export function reachedIn({ head, shards }: ReadJournal): number {
  const bytes = [...shards.values()].reduce((sum, { at }) => sum + at, 0);
  return Math.min(bytes, head.totalBytes);
}
