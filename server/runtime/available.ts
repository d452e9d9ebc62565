/** What could be installed on this machine: the registry, with what is free here at this moment. */
import { mkdirSync, statfsSync } from 'node:fs';
import type { EngineName } from '../engine/engine';
import { candidates } from '../engine/select';
import { sizeOf } from '../models/figures';
import { available } from '../models/recommend';
import { knownModels } from '../models/registry';
import type { Paths } from '../paths';
import type { AvailableModel } from '../protocol';
import { readConfig } from '../weights/config';
import type { Loaded } from './messages';
import { installedModels } from './models';

export interface AvailableOptions {
  /** The model that is loaded in this process: another one takes its place. */
  readonly loaded?: Pick<Loaded, 'dir' | 'engine'> | undefined;
  /** Seam for tests. */
  readonly find?: typeof candidates;
}

/** Never rejects for what a device or a folder is like; those are answers. */
export async function availableModels(paths: Paths, options: AvailableOptions = {}): Promise<AvailableModel[]> {
  const { loaded, find = candidates } = options;
  const engines = find();
  const installed = await installedModels(paths);
  const held = loaded && { engine: loaded.engine, bytes: await heldBytes(loaded, engines) };
  const places = await Promise.all(
    engines.map(async (engine) => {
      const heldHere = held !== undefined && held.engine === engine.name ? held.bytes : 0;
      return { engine, probe: await engine.probe(), heldBytes: heldHere };
    }),
  );
  return available(knownModels(), {
    places,
    diskBytes: diskFree(paths.home),
    installed: new Set(installed.map(({ name }) => name.toLowerCase())),
  });
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

async function heldBytes(
  loaded: Pick<Loaded, 'dir' | 'engine'>,
  engines: ReturnType<typeof candidates>,
): Promise<number> {
  const engine = engines.find(({ name }) => name === (loaded.engine as EngineName));
  if (engine === undefined) return 0;
  try {
    return engine.needBytes(sizeOf(await readConfig(loaded.dir)));
  } catch {
    // Its folder is gone: what it holds is counted as taken.
    return 0;
  }
}
