/** Which model folder a request means: an installed name, a path, or by default the largest that this machine can run. */
import { createHash } from 'node:crypto';
import { readdir, realpath, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, isAbsolute, join } from 'node:path';
import { FlanError } from '../errors';
import type { Paths } from '../paths';
import type { ModelInfo } from '../protocol';
import { say } from '../saying';
import { folderName } from '../weights/hub/cache';
import { listModels } from '../weights/store';

/** The built-in model, beside the built code in the package. */
export const STARTER_DIR = join(__dirname, '..', 'models', 'starter');

export class UnknownModelError extends FlanError {
  constructor(asked: string, installed: readonly string[]) {
    super(
      'unknown-model',
      say(
        'There is no model "{0}". Installed: {1}. Give one of these, or the full path of a model folder.',
        asked,
        installed.length === 0 ? say('none') : installed.join(', '),
      ),
    );
  }
}

export class NoModelError extends FlanError {
  constructor() {
    super('no-model', say('No model is installed. Install one, or choose the folder of one as the model.'));
  }
}

/** A folder to load, and what it is called in answers. */
export interface ModelFolder {
  readonly name: string;
  readonly dir: string;
  /** The built-in demonstration model. */
  readonly demo: boolean;
  /** Changes when the folder's files do: what was loaded before is another model then. */
  readonly state: string;
}

/** All models, the built-in one last. `onSkip` gets the folders that look like models but cannot be read. */
export function installedModels(
  paths: Pick<Paths, 'models'>,
  onSkip: (dir: string, error: unknown) => void = () => {},
  starter: string = STARTER_DIR,
): Promise<ModelInfo[]> {
  return listModels(paths.models, starter, onSkip);
}

/**
 * The folders that a request's `model` may mean, the preferred one first. One for a name or a path; by default all, by
 * size, because which of them fits is known only when an engine is chosen.
 * @throws UnknownModelError, NoModelError
 */
export async function modelFolders(
  paths: Pick<Paths, 'models'>,
  asked: string | undefined,
  starter: string = STARTER_DIR,
): Promise<ModelFolder[]> {
  // Settings are not written through a shell.
  const model = asked?.replace(/^~(?=[/\\])/, homedir());
  const installed = () => installedModels(paths, undefined, starter);
  if (model === undefined) {
    const best = (await installed()).sort((a, b) => Number(a.demo) - Number(b.demo) || b.parameters - a.parameters);
    if (best.length === 0) throw new NoModelError();
    return Promise.all(best.map(folderOf));
  }
  if (isAbsolute(model) && (await isFolder(model))) {
    return [await folderOf({ name: folderName(model), dir: model, demo: await same(model, starter) })];
  }
  const known = await installed();
  // `google/flan-ul2` is how the hub calls what is installed as `flan-ul2`.
  const found = known.find((info) => info.name === model) ?? known.find((info) => `/${info.name}` === hubName(model));
  if (found !== undefined) return [await folderOf(found)];
  // A folder that is there but not listed is broken: loading it says how.
  const broken = join(paths.models, model);
  if (basename(model) === model && (await isFolder(broken)))
    return [await folderOf({ name: model, dir: broken, demo: false })];
  throw new UnknownModelError(
    model,
    known.map((info) => info.name),
  );
}

/** The part after the organisation, with its slash; undefined for anything but a hub's name. */
function hubName(model: string): string | undefined {
  return /^\w[\w.-]*(\/\w[\w.-]*)$/.exec(model)?.[1];
}

async function folderOf({ name, dir, demo }: Omit<ModelFolder, 'state'>): Promise<ModelFolder> {
  const files = (await readdir(dir).catch(() => [])).sort();
  const hash = createHash('sha1');
  for (const file of files) {
    const found = await stat(join(dir, file)).catch(() => undefined);
    if (found?.isFile()) hash.update(`${file}\0${found.size}\0${found.mtimeMs}\0${found.ino}\n`);
  }
  return { name, dir, demo, state: hash.digest('hex') };
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
