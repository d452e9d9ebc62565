/** Which weight file stands for a model folder: its own, or one in the cache that is made when it is missing or broken. */
import { createHash } from 'node:crypto';
import { mkdir, readdir, realpath, rm, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import type { WeightFormat } from '../engine/engine';
import { FlanError } from '../errors';
import type { ModelInfo } from '../protocol';
import { say } from '../saying';
import { Checkpoint, formOf, hasOriginal, INT8_FILE } from './checkpoint';
import { readConfig, type T5Config } from './config';
import { convertCheckpoint } from './convert';
import { NotAModelError, WeightFileError } from './errors';
import { inspectWeightFile, openWeightFile, type WeightFile } from './file';
import { readOrigin } from './hub/origin';
import { parametersOf } from './layout';
import { identityOf } from './model';
import { FORMAT_VERSION, planOf, type TensorErrorEntry } from './plan';
import type { CancelSignal, Progress } from './small';
import { diskErrors } from './writer';

/** Raised when the quantizer gives other bytes for the same checkpoint: cached files are made again. */
export const QUANTIZER_VERSION = 1;

export interface ResolveOptions {
  /** A model folder, original or pre-quantized. */
  readonly dir: string;
  readonly format: WeightFormat;
  /** Where converted files are kept. */
  readonly cacheDir: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: CancelSignal;
  /** As in ConvertOptions. */
  readonly quantizerFile?: string | undefined;
}

export interface ResolvedWeights {
  readonly config: T5Config;
  readonly file: WeightFile;
  readonly form: 'pre-quantized' | 'original';
  /** What was chosen where the model left a choice: sentences for the log. */
  readonly notes: readonly string[];
}

/**
 * Finds the weight file of a model in the wanted format, and makes it when there is none.
 *
 * @throws WeightFileError when a pre-quantized folder's own file is damaged (there is no original to make it from again);
 * otherwise as `convertCheckpoint`.
 */
export async function resolveWeights(options: ResolveOptions): Promise<ResolvedWeights> {
  const { dir, format, cacheDir } = options;
  const notes: string[] = [];
  const config = await readConfig(dir, notes);
  const form = await formOf(dir);
  if (form === 'pre-quantized' && format === 'int8') {
    const file = await openWeightFile(join(dir, INT8_FILE), { ...optional(options), stampDir: cacheDir });
    checkSameModel(config, file);
    return { config, file, form, notes };
  }
  const out = await cachePath(options, config);
  const file = await cached(out, options, notes);
  await removeOutdated(out);
  return { config: { ...config, tied: file.config.tied }, file, form: form ?? 'original', notes };
}

/**
 * What a model's memory is computed from: configuration and size of the weight file that `resolveWeights` would give, by
 * headers alone. Undefined where they cannot be read: `resolveWeights` says why.
 */
export async function weightSize(
  dir: string,
  format: WeightFormat,
): Promise<{ readonly config: T5Config; readonly fileBytes: number } | undefined> {
  try {
    if (format === 'int8' && (await formOf(dir)) === 'pre-quantized') {
      return await inspectWeightFile(join(dir, INT8_FILE));
    }
    const config = await readConfig(dir);
    return { config, fileBytes: planOf(config, format).dataBytes };
  } catch (error) {
    if (error instanceof FlanError) return undefined;
    throw error;
  }
}

function optional({ onProgress, signal }: Pick<ResolveOptions, 'onProgress' | 'signal'>) {
  return { ...(onProgress && { onProgress }), ...(signal && { signal }) };
}

/** The cached file, made anew when it is missing or not whole. */
async function cached(out: string, options: ResolveOptions, notes: string[]): Promise<WeightFile> {
  const reading = { ...optional(options), stampDir: options.cacheDir };
  let broken = false;
  try {
    return await openWeightFile(out, reading);
  } catch (error) {
    if (!(error instanceof WeightFileError)) throw error;
    broken = await exists(out);
    if (broken) notes.push(`The cached weights were broken and were made again (${error.message})`);
  }
  await diskErrors(options.cacheDir, () => mkdir(options.cacheDir, { recursive: true }));
  const { dir: source, format, quantizerFile } = options;
  const converted = await convertCheckpoint({ ...reading, source, out, format, reuse: true, quantizerFile });
  notes.push(...converted.notes.filter((note) => !notes.includes(note)));
  return await openWeightFile(out, reading);
}

/**
 * The name of a model's cached file: the folder's name and place, then what the file depends on: the original's
 * identity with times of change, the configuration, the format, and the versions of layout and quantizer.
 */
async function cachePath({ dir, format, cacheDir }: ResolveOptions, config: T5Config): Promise<string> {
  const key = createHash('sha256');
  key.update(JSON.stringify([FORMAT_VERSION, QUANTIZER_VERSION, format, config, await sourceState(dir)]));
  return join(cacheDir, `${await cachePrefix(dir)}${key.digest('hex').slice(0, 16)}.${format}.safetensors`);
}

async function cachePrefix(dir: string): Promise<string> {
  const real = await realpath(dir);
  const place = createHash('sha256').update(real).digest('hex').slice(0, 8);
  const name = basename(real)
    .replace(/[^\w.-]/g, '_')
    .slice(0, 60);
  return `${name}-${place}-`;
}

/** Removes what was converted from a model folder. @returns the bytes that it took. */
export async function removeCached(dir: string, cacheDir: string): Promise<number> {
  const prefix = await cachePrefix(dir).catch(() => undefined);
  let bytes = 0;
  for (const name of prefix === undefined ? [] : await readdir(cacheDir).catch(() => [])) {
    const rest = name.slice(prefix?.length);
    if (!name.startsWith(prefix ?? '/') || !/^[0-9a-f]{16}\.(?:int8|fp32)\.safetensors/.test(rest)) continue;
    bytes += (await stat(join(cacheDir, name)).catch(() => undefined))?.size ?? 0;
    await rm(join(cacheDir, name), { force: true });
  }
  return bytes;
}

async function sourceState(dir: string): Promise<unknown> {
  if (await hasOriginal(dir)) {
    const checkpoint = await Checkpoint.open(dir);
    await checkpoint.close();
    return [identityOf(checkpoint), checkpoint.files.map((file) => file.mtimeMs)];
  }
  if ((await formOf(dir)) === undefined) {
    await Checkpoint.open(dir); // Says what is missing.
    throw new NotAModelError(say('{0} has no weights. Download the model again.', dir));
  }
  return (await inspectWeightFile(join(dir, INT8_FILE))).sha256;
}

/** Removes cached files of the same folder and format that stand for an earlier state of it. */
async function removeOutdated(out: string): Promise<void> {
  const dir = join(out, '..');
  const parts = /^(.*)[0-9a-f]{16}(\.(?:int8|fp32)\.safetensors)$/.exec(basename(out));
  const [, prefix, suffix] = parts ?? [];
  if (prefix === undefined || suffix === undefined) return;
  for (const name of await readdir(dir)) {
    const key = name.slice(prefix.length, -suffix.length);
    if (name === basename(out) || !name.startsWith(prefix) || !name.endsWith(suffix) || !/^[0-9a-f]{16}$/.test(key)) {
      continue;
    }
    await rm(join(dir, name), { force: true }).catch(() => {}); // In use on Windows: the next start removes it.
  }
}

/** A config.json that was changed or swapped after its weights were quantized. */
function checkSameModel(config: T5Config, file: WeightFile): void {
  const asked = planOf(config, file.format).tensors;
  const differs = asked.find(({ name, shape }, i) => {
    return file.names[i] !== name || file.offsetOf(name).shape.join() !== shape.join();
  });
  if (differs || asked.length !== file.names.length) {
    const what = differs ? ` (tensor ${differs.name})` : '';
    throw new WeightFileError(file.path, `it is of another model than the config.json beside it${what}.`);
  }
}

/**
 * The models in the folders of `modelsDir`, by name, and the built-in one last.
 *
 * @param onSkip gets the folders that look like models but cannot be read, and why.
 */
export async function listModels(
  modelsDir: string,
  starterDir: string | undefined,
  onSkip?: (dir: string, error: unknown) => void,
): Promise<ModelInfo[]> {
  const names = await readdir(modelsDir).catch(() => []);
  // A folder that is still being made has a temporary name.
  const finished = names.filter((name) => !/\.tmp(\.old)?$/.test(name));
  const dirs = finished.sort().map((name) => join(modelsDir, name));
  if (starterDir !== undefined) dirs.push(starterDir);
  const models: ModelInfo[] = [];
  for (const dir of dirs) {
    if (!(await exists(join(dir, 'config.json')))) continue;
    try {
      models.push(await modelInfo(dir, dir === starterDir));
    } catch (error) {
      onSkip?.(dir, error);
    }
  }
  return models;
}

/** What a list says of one model folder. Throws as the readers do. */
export async function modelInfo(dir: string, demo: boolean): Promise<ModelInfo> {
  const config = await readConfig(dir);
  const parameters = parametersOf(config);
  const common = { name: basename(resolve(dir)), dir, demo, parameters };
  if ((await formOf(dir)) === 'pre-quantized') {
    const { fileBytes, changedMs } = await inspectWeightFile(join(dir, INT8_FILE));
    const origin = await readOrigin(dir);
    const from = origin && { origin: `${origin.repository}@${origin.revision}` };
    return { ...common, bytes: fileBytes, changedMs, form: 'pre-quantized', ...from };
  }
  const checkpoint = await Checkpoint.open(dir);
  await checkpoint.close();
  const bytes = checkpoint.files.reduce((sum, file) => sum + file.fileBytes, 0);
  const changedMs = Math.max(...checkpoint.files.map((file) => file.mtimeMs));
  return { ...common, bytes, changedMs, form: 'original' };
}

/**
 * The tensors of a model that lost most by quantizing, worst first: of a pre-quantized folder, or of the cached file of an
 * original. Empty where no int8 file was made yet.
 */
export async function worstErrors(dir: string, cacheDir?: string): Promise<readonly TensorErrorEntry[]> {
  if ((await formOf(dir)) === 'pre-quantized') return (await inspectWeightFile(join(dir, INT8_FILE))).errors;
  if (cacheDir === undefined) return [];
  const path = await cachePath({ dir, format: 'int8', cacheDir }, await readConfig(dir));
  return (await exists(path)) ? (await inspectWeightFile(path)).errors : [];
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
