/** Looks at a repository without fetching anything large. */
import { mkdir } from 'node:fs/promises';
import type { RepositoryInfo } from '../../protocol';
import { say } from '../../saying';
import { parseConfig, rawConfig } from '../config';
import { COMPANIONS } from '../convert';
import { NotAModelError } from '../errors';
import { freeBytesOf } from '../make';
import { planOf } from '../plan';
import { hubAddress, parseRepository } from './address';
import { defaultName } from './cache';
import { Line } from './line';
import { readOrigin } from './origin';
import type { PullOptions } from './progress';
import { listRepository, noWeightsIn, RemoteFiles, weightNames, weightsOf } from './repository';
import { Workspace } from './workspace';

export type LookOptions = Pick<
  PullOptions,
  'model' | 'accessToken' | 'hubUrl' | 'proxy' | 'noProxy' | 'modelsDir' | 'env' | 'signal' | 'lineLimits'
>;

/** @throws NotAModelError for a repository without weights or configuration, and what the line throws. */
export async function lookAt(options: LookOptions): Promise<RepositoryInfo> {
  const { model, modelsDir, env, signal, proxy, noProxy, lineLimits: limits } = options;
  const asked = parseRepository(model);
  const accessToken = options.accessToken ?? env['HF_TOKEN'];
  const line = new Line({ hub: hubAddress(options.hubUrl, env), accessToken, proxy, noProxy, limits, signal });
  try {
    const listing = await listRepository(line, asked);
    const files = new RemoteFiles(line, listing);
    const weights = weightsOf(listing);
    if (!listing.files.has('config.json')) {
      throw new NotAModelError(say('{0} has no config.json: it is no model.', asked.repository));
    }
    if (weights === undefined) throw new NotAModelError(noWeightsIn(asked.repository));
    const config: unknown = JSON.parse(await files.text('config.json'));
    const read = new Set([...COMPANIONS, ...(await weightNames(listing, files))]);
    const all = [...listing.files.values()].map(({ path, bytes }) => ({ path, bytes, read: read.has(path) }));
    const space = new Workspace(modelsDir, defaultName(model));
    const origin = await readOrigin(space.target);
    const same = origin?.repository === asked.repository && origin.commit === listing.commit;
    await mkdir(modelsDir, { recursive: true });
    return {
      ...asked,
      commit: listing.commit,
      name: space.name,
      config,
      weights,
      files: all,
      downloadBytes: all.reduce((sum, file) => sum + (file.read ? file.bytes : 0), 0),
      ...installBytes(config),
      freeBytes: await freeBytesOf(modelsDir),
      ...(listing.license === undefined ? {} : { license: listing.license }),
      gated: listing.gated,
      ...((await space.isTaken()) ? { installed: { dir: space.target, same } } : {}),
    };
  } finally {
    await line.close();
  }
}

/** Nothing for a model that cannot be run: whoever asked sees its configuration. */
function installBytes(config: unknown): { readonly installBytes?: number } {
  try {
    return { installBytes: planOf(parseConfig(rawConfig(config), { lmHead: false }), 'int8').dataBytes };
  } catch {
    return {};
  }
}
