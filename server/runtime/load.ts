/**
 * From a model folder to something that answers: weight file, engine, tokenizer, and how this model wants to be asked.
 * Used by the model thread, and by the command line's bench.
 */

import type { Candidate } from '../engine/candidate';
import type { StopSignal } from '../engine/engine';
import { MemoryRefusedError, OutOfMemoryError } from '../engine/errors';
import { checkRoom, type HeldModel, makeRoom } from '../engine/room';
import { candidates, createEngine, type Selection } from '../engine/select';
import type { EngineChoice, Progress, WeightChoice } from '../protocol';
import type { TaskModel } from '../tasks/model';
import { profileFor } from '../tasks/profiles';
import { TextCodec } from '../text/codec';
import { resolveWeights, weightSize } from '../weights/store';
import type { ModelFolder } from './models';

export interface LoadRequest {
  /** Tried in this order: the next one only when the memory does not do for the one before. */
  readonly folders: readonly ModelFolder[];
  readonly engine: EngineChoice;
  readonly weights: WeightChoice;
  readonly cacheDir: string;
  /** The built thread that quantizes, for a model that has no int8 file yet. */
  readonly quantizerFile?: string;
  readonly signal?: StopSignal;
  /**
   * The models that are loaded now, the least recently used first; those that were freed are in it no more. What has to
   * leave is freed when the new one was found in order and only its engine is left to make: a wrong folder costs nobody the
   * model that worked.
   */
  readonly held?: readonly HeldModel[];
  /** Seam for tests. */
  readonly find?: typeof candidates;
  readonly onProgress?: (progress: Progress) => void;
}

export interface LoadedModel {
  readonly model: TaskModel;
  readonly dir: string;
  /** Why this engine, and why no larger model; empty when all was named. */
  readonly why: string;
  /** What was chosen where the model left a choice. */
  readonly notes: readonly string[];
}

function isOutOfMemory(error: unknown): boolean {
  return error instanceof OutOfMemoryError || error instanceof MemoryRefusedError;
}

/** Throws what resolveWeights, createEngine and TextCodec throw; OutOfMemoryError when the last folder does not fit. */
export async function loadModel(request: LoadRequest): Promise<LoadedModel> {
  const tooLarge: string[] = [];
  for (const [at, folder] of request.folders.entries()) {
    try {
      const loaded = await loadFolder(folder, request);
      return tooLarge.length === 0 ? loaded : { ...loaded, why: [...tooLarge, loaded.why].join(' ').trim() };
    } catch (error) {
      if (!isOutOfMemory(error) || at === request.folders.length - 1) throw error;
      tooLarge.push(`${folder.name} does not fit in the memory.`);
    }
  }
  throw new RangeError('loadModel needs at least one folder.');
}

async function loadFolder({ name, dir, demo }: ModelFolder, request: LoadRequest): Promise<LoadedModel> {
  const { engine: choice, weights, cacheDir, quantizerFile, signal, onProgress, find = candidates } = request;
  const start = performance.now();
  const loading = (message: string, fraction?: number) =>
    onProgress?.({ kind: 'loading', model: name, message, ...(fraction === undefined ? {} : { fraction }) });
  loading(`Loading ${name}`);
  // While another model is loaded, a look at the memory finds too little for it to be the last word.
  const { held = [] } = request;
  const early = held.length === 0 ? lookEarly(find(), choice, weights) : undefined;
  const room = { choice, weights, held };
  // Reading 20 GB for their checksum takes a minute: what has no room is told before.
  const size = await weightSize(dir, weights);
  if (size) await checkRoom(size, { ...room, candidates: early ?? find() });
  const { config, file, notes } = await resolveWeights({
    dir,
    format: weights,
    cacheDir,
    quantizerFile,
    ...(signal === undefined ? {} : { signal }),
    onProgress: ({ message, fraction }) => loading(message, fraction),
  });
  const codec = await TextCodec.open(dir);
  if (held.length > 0 && (await mayWork(find(), choice))) {
    await makeRoom({ config, fileBytes: file.fileBytes }, { ...room, candidates: find() });
  }
  const create = (): Promise<Selection> =>
    createEngine({
      ...{ choice, weights, file, config },
      candidates: early ?? find(),
      onProgress: (fraction) => loading(`Loading ${name}`, fraction),
    });
  const { engine, why } = await create().catch(async (error: unknown) => {
    if (!isOutOfMemory(error) || held.length === 0) throw error;
    // Less was free than it seemed, or the engine that there was room on failed, and on the next one others stayed.
    for (const model of [...held]) await model.free();
    return create();
  });
  const loadMs = performance.now() - start;
  return { dir, model: { name, engine, codec, profile: profileFor(name, config), demo, weights, loadMs }, why, notes };
}

/** False when the engine that was named cannot be used here: then nothing has to make room for it. */
async function mayWork(all: readonly Candidate[], choice: EngineChoice): Promise<boolean> {
  const named = all.find((candidate) => candidate.name === choice);
  return named === undefined ? choice === 'auto' : (await named.probe()).ok;
}

/** Looking for devices takes a child process some time: it may do so while the weights are checked here. */
function lookEarly(all: readonly Candidate[], choice: EngineChoice, weights: WeightChoice): readonly Candidate[] {
  return all.map((candidate) => {
    const wanted = weights === 'fp32' ? candidate.name === 'cpu' : choice === 'auto' || choice === candidate.name;
    if (!wanted) return candidate;
    const probe = candidate.probe();
    return { ...candidate, probe: () => probe };
  });
}
