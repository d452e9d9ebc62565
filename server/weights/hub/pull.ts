/**
 * From a model's name to an installed model: from a folder of this machine, from the Hugging Face cache, or from the hub.
 * What comes out is byte for byte what converting the same files gives.
 */
import { setMaxListeners } from 'node:events';
import { isAbsolute } from 'node:path';
import { convertFolder } from '../convert';
import { hubAddress, installName, parseRepository, type Repository } from './address';
import { cachedSnapshot, defaultName } from './cache';
import { pullFromHub } from './from_hub';
import { Line } from './line';
import { writeOrigin } from './origin';
import type { Pulled, PullOptions } from './progress';
import { watchOther } from './waiting';
import { installedAs, Workspace } from './workspace';

/**
 * Installs a model. What was fetched stays when it fails, is cancelled or killed: the next pull of it goes on from there. A
 * pull of the same name in another process is waited for.
 *
 * @throws UsageError, CancelledError, HubTokenError, HubUnknownError, HubOfflineError, HubLineError, HubChecksumError,
 * HubChangedError, ModelExistsError, DiskSpaceError, and what `convertCheckpoint` throws.
 */
export async function pullModel(options: PullOptions): Promise<Pulled> {
  const { model, modelsDir, env, signal } = options;
  // Every request under way listens; Node takes more than ten for a mistake.
  setMaxListeners(0, signal);
  const space = new Workspace(modelsDir, options.name === undefined ? defaultName(model) : installName(options.name));
  const asked = isAbsolute(model) ? undefined : parseRepository(model);
  const hub = hubAddress(options.hubUrl, env);
  let stopWatching = () => {};
  const waiting = (pid: number) => {
    stopWatching = watchOther(space, pid, options.onProgress);
  };
  const lock = await space.lock(signal, waiting).finally(() => stopWatching());
  try {
    await space.recover();
    if (!asked) return await fromFolder(options, space, model, undefined);
    preparing(options, `Looking for ${model}`);
    const cached = options.keepOriginal ? undefined : await cachedSnapshot(asked, env);
    if (cached) return await fromCache(options, space, asked, cached.dir, cached.commit);
    const line = new Line({
      hub,
      accessToken: options.accessToken ?? env['HF_TOKEN'],
      proxy: options.proxy,
      noProxy: options.noProxy,
      limits: options.lineLimits,
      signal,
      onWait: (reason, ms) => preparing(options, `Waiting ${Math.round(ms / 1000)} s: ${reason}`),
    });
    try {
      return await pullFromHub(options, space, line, asked);
    } finally {
      await line.close();
    }
  } finally {
    await lock.release();
  }
}

function preparing({ onProgress }: PullOptions, message: string): void {
  onProgress({ state: 'preparing', message, bytes: 0, totalBytes: 0, bytesPerSecond: 0 });
}

async function fromCache(
  options: PullOptions,
  space: Workspace,
  asked: Repository,
  dir: string,
  commit: string,
): Promise<Pulled> {
  const { repository, revision } = asked;
  const installed = await installedAs(space, { repository, commit });
  if (installed) return installed;
  const origin = { repository, revision, commit, hub: '', pulled: new Date().toISOString(), weights: [], files: [] };
  const pulled = await fromFolder(options, space, dir, origin);
  return { ...pulled, notes: [`Taken from the Hugging Face cache (${dir}).`, ...pulled.notes] };
}

async function fromFolder(
  options: PullOptions,
  space: Workspace,
  dir: string,
  origin: Parameters<typeof writeOrigin>[1] | undefined,
): Promise<Pulled> {
  const { signal, onProgress, quantizerFile, openOutput, freeBytes } = options;
  await space.checkTarget(origin ? { repository: origin.repository } : {});
  // Converting takes minutes and starts anew; what was fetched from the hub under this name is not needed then.
  await space.discard();
  await space.create(space.dir);
  const converting = convertFolder(dir, space.folder, {
    signal,
    quantizerFile,
    onProgress: ({ message, fraction }) => {
      const parts = { bytes: Math.round(fraction * 1000), totalBytes: 1000, bytesPerSecond: 0 };
      onProgress({ state: 'converting', message, ...parts });
    },
    ...(openOutput ? { openOutput } : {}),
    ...(freeBytes ? { freeBytes } : {}),
  });
  const { bytes, notes } = await converting.catch(async (error: unknown) => {
    await space.discard();
    throw error;
  });
  if (origin) await writeOrigin(space.folder, origin);
  await space.install(origin?.repository);
  return { name: space.name, dir: space.target, bytes, made: true, notes };
}
