/** Prompt sets on this machine's disk: the folder of a workspace, and which set a name on the command line means. */
import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join, parse, resolve } from 'node:path';
import { FlanError } from '../errors';
import { UnknownPromptSetError } from '../prompts/errors';
import { parsePromptSet } from '../prompts/file';
import { gallery } from '../prompts/gallery';
import type { PromptSet } from '../prompts/set';
import { listSets, PROMPTS_FOLDER, type PromptFiles, type StoredSet } from '../prompts/store';
import { readSource } from './source';

/** The folder of sets that belongs to `from`: of itself or of the nearest folder above that has one. */
export function promptsFolder(from: string): string | undefined {
  for (let dir = resolve(from); ; dir = dirname(dir)) {
    const folder = join(dir, PROMPTS_FOLDER);
    if (existsSync(folder)) return folder;
    if (dir === parse(dir).root) return undefined;
  }
}

/** The seam of prompts/store.ts over a folder. */
export function filesIn(folder: string): PromptFiles {
  const missing = (error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  };
  return {
    list: async () => {
      const entries = await readdir(folder, { withFileTypes: true }).catch(missing);
      return (entries ?? []).filter((entry) => !entry.isDirectory()).map(({ name }) => name);
    },
    read: (name) => readFile(join(folder, name), 'utf8').catch(missing),
    write: async (name, text) => {
      const path = join(folder, name);
      await mkdir(dirname(path), { recursive: true });
      const temporary = temporaryFor(path);
      try {
        await writeFile(temporary, text);
        await rename(temporary, path);
      } finally {
        await rm(temporary, { force: true });
      }
    },
    remove: (name) => rm(join(folder, name), { force: true }),
  };
}

export class UnwritableFileError extends FlanError {
  constructor(path: string, error: unknown) {
    const { code, message } = error as NodeJS.ErrnoException;
    super(
      'unwritable',
      `${path} cannot be written (${code ?? message}). Choose another place, or change its permissions.`,
    );
  }
}

/** Writes to a temporary name in the same folder and renames. @throws UnwritableFileError */
export function writeRenamed(path: string, text: string): void {
  const temporary = temporaryFor(path);
  try {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(temporary, text);
    renameSync(temporary, path);
  } catch (error) {
    // Where there is not even a folder, there is nothing to clean up.
    if (existsSync(temporary)) rmSync(temporary, { force: true });
    throw new UnwritableFileError(path, error);
  }
}

function temporaryFor(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomUUID().slice(0, 8)}.tmp`);
}

export interface FoundSet {
  readonly set: PromptSet;
  /** Where its baseline is kept; undefined for a set that is not in a folder of sets. */
  readonly stored?: { readonly files: PromptFiles; readonly file: string };
}

/**
 * The set that an argument means: a path, or a name in `.flan/prompts` (of the file or of the set), or in the gallery.
 * @throws PromptSetFileError, UnknownPromptSetError, SourceError
 */
export async function findSet(argument: string, from: string): Promise<FoundSet> {
  if (/[/\\]/.test(argument) || /\.json$/i.test(argument)) return readSet(argument);
  const folder = promptsFolder(from);
  const wanted = argument.toLowerCase();
  const stored = folder === undefined ? [] : await listSets(filesIn(folder));
  const named =
    stored.find(({ file }) => file.toLowerCase() === `${wanted}.json`) ?? stored.find((one) => isNamed(one, wanted));
  if (folder !== undefined && named !== undefined) {
    if (named.kind === 'broken') throw named.error;
    return { set: named.set, stored: { files: filesIn(folder), file: named.file } };
  }
  const ready = gallery().find(({ id, set, chinese }) => [id, set.name.toLowerCase(), chinese.name].includes(wanted));
  if (ready !== undefined) return { set: ready.set };
  const own = stored.map(({ file }) => file.replace(/\.json$/, ''));
  throw new UnknownPromptSetError(argument, [...own, ...gallery().map(({ id }) => id)]);
}

function isNamed(stored: StoredSet, wanted: string): boolean {
  return stored.kind === 'set' && stored.set.name.toLowerCase() === wanted;
}

function readSet(path: string): FoundSet {
  const set = parsePromptSet(readSource(path).text, path);
  const folder = dirname(resolve(path));
  const inFolder = folder.replaceAll('\\', '/').endsWith(`/${PROMPTS_FOLDER}`);
  return inFolder ? { set, stored: { files: filesIn(folder), file: basename(path) } } : { set };
}
