/** The Hugging Face cache of this machine, where other programs may have put the model already. It is only read. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { homedir } from 'node:os';
import { basename, dirname, isAbsolute, join, resolve } from 'node:path';
import { Checkpoint, hasOriginal } from '../checkpoint';
import { tokenizerNotes } from '../convert';
import { installName, parseRepository, type Repository } from './address';

export interface Snapshot {
  readonly dir: string;
  readonly commit: string;
}

function cacheFolder(env: NodeJS.ProcessEnv): string {
  const home = env['HF_HOME'] || join(env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'huggingface');
  return env['HF_HUB_CACHE'] || env['HUGGINGFACE_HUB_CACHE'] || join(home, 'hub');
}

/** A revision of a repository with its configuration and all of its weights; undefined where one of them is missing. */
export async function cachedSnapshot(asked: Repository, env: NodeJS.ProcessEnv): Promise<Snapshot | undefined> {
  const { repository, revision } = asked;
  const repositoryDir = join(cacheFolder(env), `models--${repository.replaceAll('/', '--')}`);
  const named = await readFile(join(repositoryDir, 'refs', revision), 'utf8').catch(() => revision);
  const commit = named.trim();
  if (!/^[0-9a-f]{7,64}$/.test(commit)) return undefined;
  const dir = join(repositoryDir, 'snapshots', commit);
  return (await isWhole(dir)) ? { dir, commit } : undefined;
}

async function isWhole(dir: string): Promise<boolean> {
  const there = new Set<string>();
  for (const name of await readdir(dir).catch(() => [])) {
    // Links lead to blobs that may have been removed.
    if ((await stat(join(dir, name)).catch(() => undefined))?.isFile()) there.add(name);
  }
  const usable = there.has('config.json') && tokenizerNotes(dir, (name) => there.has(name)).length === 0;
  if (!usable || !(await hasOriginal(dir))) return false;
  try {
    await (await Checkpoint.open(dir)).close();
    return true;
  } catch {
    return false; // A shard is missing, or a download was cut off: the hub has all of it.
  }
}

/** The model's name by its folder; of a hub cache's `models--google--flan-t5-small/snapshots/<hash>`, `flan-t5-small`. */
export function folderName(dir: string): string {
  const path = resolve(dir);
  const snapshots = dirname(path);
  const hub = basename(snapshots) === 'snapshots' ? /^models--(?:.*--)?(.+)$/.exec(basename(dirname(snapshots))) : null;
  return hub?.[1] ?? basename(path);
}

/** The name that a model is installed under if no other is given. @throws UsageError */
export function defaultName(model: string): string {
  if (isAbsolute(model)) return installName(folderName(model));
  const { repository } = parseRepository(model);
  return installName(repository.slice(repository.indexOf('/') + 1));
}
