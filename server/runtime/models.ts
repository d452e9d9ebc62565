/** Which model folder a request means: an installed name, a path, or by default the largest that this machine can run. */
import { realpath, stat } from 'node:fs/promises';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { FlanError } from '../errors';
import type { Paths } from '../paths';
import type { ModelInfo } from '../protocol';
import { listModels } from '../weights/store';

/** The built-in model, beside the built code in the package. */
export const STARTER_DIR = join(__dirname, '..', 'models', 'starter');

export class UnknownModelError extends FlanError {
  constructor(asked: string, installed: readonly string[]) {
    super(
      'unknown-model',
      `There is no model '${asked}'. Installed: ${installed.join(', ') || 'none'}. Give one of these, or the full path of a model folder.`,
    );
  }
}

export class NoModelError extends FlanError {
  constructor(models: string) {
    super(
      'no-model',
      `No model is installed. Convert one into ${models} with flan convert, or name a folder with --model.`,
    );
  }
}

/** A folder to load, and what it is called in answers. */
export interface ModelFolder {
  readonly name: string;
  readonly dir: string;
  /** The built-in demonstration model. */
  readonly demo: boolean;
}

/** All models, the built-in one last. */
export function installedModels(paths: Pick<Paths, 'models'>, starter: string = STARTER_DIR): Promise<ModelInfo[]> {
  return listModels(paths.models, starter, (dir, error) => {
    console.error(`${dir} is not listed: ${error instanceof Error ? error.message : String(error)}`);
  });
}

/**
 * The folders that a request's `model` may mean, the preferred one first. One for a name or a path; by default all, by
 * size, because which of them fits is known only when an engine is chosen.
 * @throws UnknownModelError, NoModelError
 */
export async function modelFolders(
  paths: Pick<Paths, 'models'>,
  model: string | undefined,
  starter: string = STARTER_DIR,
): Promise<ModelFolder[]> {
  if (model !== undefined && isAbsolute(model)) {
    if (!(await isFolder(model))) throw new UnknownModelError(model, await names(paths, starter));
    return [{ name: folderName(model), dir: model, demo: await same(model, starter) }];
  }
  const installed = await installedModels(paths, starter);
  if (model !== undefined) {
    const found = installed.find((info) => info.name === model);
    if (found === undefined) throw new UnknownModelError(model, await names(paths, starter));
    return [found];
  }
  const best = [...installed].sort((a, b) => Number(a.demo) - Number(b.demo) || b.parameters - a.parameters);
  if (best.length === 0) throw new NoModelError(paths.models);
  return best;
}

/** The model's name by its folder; of a hub cache's `models--google--flan-t5-small/snapshots/<hash>`, `flan-t5-small`. */
export function folderName(dir: string): string {
  const path = resolve(dir);
  const snapshots = dirname(path);
  const hub = basename(snapshots) === 'snapshots' ? /^models--(?:.*--)?(.+)$/.exec(basename(dirname(snapshots))) : null;
  return hub?.[1] ?? basename(path);
}

async function names(paths: Pick<Paths, 'models'>, starter: string): Promise<string[]> {
  return (await installedModels(paths, starter)).map((info) => info.name);
}

async function isFolder(path: string): Promise<boolean> {
  return stat(path).then(
    (found) => found.isDirectory(),
    () => false,
  );
}

async function same(a: string, b: string): Promise<boolean> {
  const [first, second] = await Promise.all([a, b].map((path) => realpath(path).catch(() => path)));
  return first === second;
}
