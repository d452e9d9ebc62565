/** What could be installed on this machine: the registry, with what is free here at this moment. */
import { mkdirSync, statfsSync } from 'node:fs';
import type { Candidate } from '../engine/candidate';
import { candidates } from '../engine/select';
import { FlanError } from '../errors';
import { sizeOf } from '../models/figures';
import { available, fitsOf, type Place } from '../models/recommend';
import { knownModels } from '../models/registry';
import type { Paths } from '../paths';
import type { AvailableModel, RepositoryInfo } from '../protocol';
import { sayingOf } from '../rpc/errors';
import { parseConfig, rawConfig, readConfig } from '../weights/config';
import { parametersOf } from '../weights/layout';
import type { LoadedBeside } from './messages';
import { installedModels } from './models';

export interface AvailableOptions {
  /** The models that are loaded in this process: others may take their place. */
  readonly held?: readonly Pick<LoadedBeside, 'dir' | 'engine'>[];
  /** Seam for tests. */
  readonly find?: typeof candidates;
}

/** Never rejects for what a device or a folder is like; those are answers. */
export async function availableModels(paths: Paths, options: AvailableOptions = {}): Promise<AvailableModel[]> {
  const installed = await installedModels(paths);
  return available(knownModels(), {
    places: await placesOf(options),
    diskBytes: diskFree(paths.home),
    installed: new Set(installed.map(({ name }) => name.toLowerCase())),
  });
}

/** A repository that nobody listed, judged by its configuration: how large it is, where it fits, or why it cannot be run. */
export async function judged(info: RepositoryInfo, options: AvailableOptions = {}): Promise<RepositoryInfo> {
  try {
    const raw = rawConfig(info.config);
    const config = parseConfig(raw, { lmHead: raw['tie_word_embeddings'] === false });
    const { fileBytes: int8Bytes } = sizeOf(config);
    const engines = fitsOf({ config, int8Bytes }, await placesOf(options));
    return { ...info, parameters: parametersOf(config), engines };
  } catch (error) {
    if (!(error instanceof FlanError)) throw error;
    const { installBytes: _, ...others } = info;
    return { ...others, refused: { code: error.code, message: error.message, ...sayingOf(error) } };
  }
}

async function placesOf({ held = [], find = candidates }: AvailableOptions): Promise<Place[]> {
  return Promise.all(
    find().map(async (engine) => {
      const here = held.filter((model) => model.engine === engine.name);
      const bytes = await Promise.all(here.map(({ dir }) => bytesOf(dir, engine)));
      const heldBytes = bytes.reduce((sum, one) => sum + one, 0);
      return { engine, probe: await engine.probe(), heldBytes };
    }),
  );
}

/** Bytes free on the disk of the data folder, which is made where it is missing. */
export function diskFree(home: string): number | undefined {
  try {
    mkdirSync(home, { recursive: true });
    const { bavail, bsize } = statfsSync(home);
    return bavail * bsize;
  } catch {
    return undefined;
  }
}

/** What a model in this folder holds of an engine's memory. */
async function bytesOf(dir: string, engine: Candidate): Promise<number> {
  try {
    return engine.needBytes(sizeOf(await readConfig(dir)));
  } catch {
    // Its folder is gone: what it holds is counted as taken.
    return 0;
  }
}
