/** Turns a checkpoint into a weight file, or into a pre-quantized folder: whole or not at all. */
import { mkdir, readdir, realpath, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import type { WeightFormat } from '../engine/engine';
import { verbatim, withNames } from '../saying';
import { formOf, INT8_FILE } from './checkpoint';
import { DiskSpaceError, OutputFolderError, WeightFileError } from './errors';
import { inspectWeightFile, openWeightFile, verifyWeightFile, type WeightFile } from './file';
import { acquireLock } from './lock';
import { copyPlain, copyWeights, make, removeLeftovers, syncFolder, temporaryName } from './make';
import { openModel } from './model';
import { type CancelSignal, errorCode, type Progress, show, throwIfCancelled } from './small';
import { diskErrors, type OpenOutput } from './writer';

export interface ConvertOptions {
  /** A model folder, original or pre-quantized. */
  readonly source: string;
  /** The weight file to make. Its folder is made if it is missing. */
  readonly out: string;
  readonly format: WeightFormat;
  /** A file that is there, whole, of the same model and not older than its files, is taken as it is. */
  readonly reuse?: boolean;
  /** Where it is remembered which large files were found whole (see `openWeightFile`). */
  readonly stampDir?: string;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: CancelSignal;
  /** The built thread that quantizes (see Quantizer); without it, the caller's own thread does. */
  readonly quantizerFile?: string | undefined;
  /** Seams for tests: from which size on threads are used, how the file is created, how many bytes are free in a folder. */
  readonly threadsFromBytes?: number;
  readonly openOutput?: OpenOutput;
  readonly freeBytes?: (dir: string) => Promise<number>;
}

export interface Converted {
  readonly file: WeightFile;
  /** False when the file was there already, or another process made it meanwhile. */
  readonly made: boolean;
  readonly notes: readonly string[];
}

/**
 * Makes the weight file of a model. The file appears under its name only when it is complete and on the disk; on any error,
 * when cancelled or killed, nothing of that name is left or changed. A second conversion to the same file waits for the
 * first and takes its result.
 *
 * @throws CancelledError; DiskSpaceError before or while writing; TensorError for a tensor that is missing, of the wrong
 * shape, or not finite; ConfigError, UnsupportedModelError, NotAModelError, SafetensorsError, WeightFileError.
 */
export async function convertCheckpoint(options: ConvertOptions): Promise<Converted> {
  const { source, format, signal } = options;
  if (format === 'int8' && (await formOf(source)) === 'pre-quantized') {
    const from = await verifyWeightFile(join(source, INT8_FILE), reading(options));
    const same = (file: WeightFile) => file.sha256 === from.sha256;
    const notes = ['The weights were int8 already: they were copied.'];
    return underLock(options, same, from.changedMs, notes, () => copyWeights(from, options));
  }
  const model = await openModel(source, format, signal);
  try {
    model.source.check(model.wanted);
    const config = JSON.stringify(model.config);
    const same = (file: WeightFile) =>
      file.source === model.identity && file.format === format && JSON.stringify(file.config) === config;
    return await underLock(options, same, model.changedMs, model.notes, () => make(model, options));
  } finally {
    await model.source.close();
  }
}

function reading({ onProgress, signal, stampDir }: Pick<ConvertOptions, 'onProgress' | 'signal' | 'stampDir'>) {
  return { ...(onProgress && { onProgress }), ...(signal && { signal }), ...(stampDir !== undefined && { stampDir }) };
}

/** Makes a file while no other process makes the same one, or takes the one that is there. */
async function underLock(
  options: ConvertOptions,
  same: (file: WeightFile) => boolean,
  changedMs: number,
  notes: readonly string[],
  produce: () => Promise<WeightFile>,
): Promise<Converted> {
  const { out, signal } = options;
  await diskErrors(dirname(out), () => mkdir(dirname(out), { recursive: true }));
  const lock = await acquireLock(`${out}.lock`, signal, (pid) => {
    options.onProgress?.({ message: `Waiting for process ${pid}, which converts the same model`, fraction: 0 });
  });
  try {
    await removeLeftovers(out);
    if (lock.waited || (options.reuse && (await changedAt(out)) >= changedMs)) {
      const ready = await wholeFile(out, options);
      if (ready && same(ready)) return { file: ready, made: false, notes };
    }
    return { file: await produce(), made: true, notes };
  } finally {
    await lock.release();
  }
}

/** When a file was last changed; before all times if it is not there. */
async function changedAt(path: string): Promise<number> {
  return stat(path).then(
    ({ mtimeMs }) => mtimeMs,
    () => Number.NEGATIVE_INFINITY,
  );
}

async function wholeFile(path: string, options: ConvertOptions): Promise<WeightFile | undefined> {
  try {
    return await openWeightFile(path, reading(options));
  } catch (error) {
    if (error instanceof WeightFileError) return undefined;
    throw error;
  }
}

/** What is copied from a checkpoint beside its weights, where it is there. */
export const COMPANIONS = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'spiece.model',
  'vocab.json',
  'merges.txt',
  'README.md',
  'LICENSE',
  'LICENSE.txt',
  'NOTICE',
];

/** The files that a tokenizer can be made from (text/folder.ts): all of one entry. */
const TOKENIZERS = [['tokenizer.json'], ['spiece.model'], ['vocab.json', 'merges.txt']] as const;

/** What should be known of a model without a tokenizer. `has`: whether it has a file of this name. */
export function tokenizerNotes(where: string, has: (name: string) => boolean): string[] {
  if (TOKENIZERS.some((files) => files.every(has))) return [];
  const wanted = TOKENIZERS.map((files) => files.join(' with ')).join(', or ');
  return [`${where} has no tokenizer (${wanted}): text cannot be given to the model.`];
}

export interface ConvertFolderOptions
  extends Pick<ConvertOptions, 'onProgress' | 'signal' | 'quantizerFile' | 'openOutput' | 'freeBytes'> {}

/**
 * Makes a pre-quantized model folder: the int8 weight file, the configuration, the tokenizer, and the original's card and
 * licence. It is built beside `outDir` and takes its name when it is complete; an earlier pre-quantized folder of that name
 * is replaced, anything else is refused.
 *
 * @throws OutputFolderError when `outDir` holds something else; otherwise as `convertCheckpoint`.
 */
export async function convertFolder(
  dir: string,
  outDir: string,
  options: ConvertFolderOptions = {},
): Promise<{ readonly dir: string; readonly bytes: number; readonly notes: readonly string[] }> {
  const out = resolve(outDir);
  await checkReplaceable(dir, out);
  await diskErrors(dirname(out), () => mkdir(dirname(out), { recursive: true }));
  await removeLeftovers(out);
  const temporary = temporaryName(out);
  try {
    await diskErrors(temporary, () => mkdir(temporary, { recursive: true }));
    const weights = join(temporary, INT8_FILE);
    const { notes } = await convertCheckpoint({ ...options, source: dir, out: weights, format: 'int8' });
    const missing: string[] = [];
    for (const name of COMPANIONS) {
      try {
        await diskErrors(join(temporary, name), () => copyPlain(join(dir, name), join(temporary, name)));
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error;
        missing.push(name);
      }
    }
    throwIfCancelled(options.signal);
    const { fileBytes } = await inspectWeightFile(weights);
    await putInPlace(temporary, out, dir);
    return { dir: out, bytes: fileBytes, notes: [...notes, ...tokenizerNotes(dir, (name) => !missing.includes(name))] };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    // The temporary folder means nothing to a person.
    if (error instanceof DiskSpaceError)
      throw new DiskSpaceError(
        withNames(error.saying ?? verbatim(error.message), (name) => name.replaceAll(temporary, out)),
        { cause: error },
      );
    throw error;
  }
}

/** Only a folder that this program could have made, or an empty one, may be replaced. */
async function checkReplaceable(dir: string, out: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(out);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return;
    throw new OutputFolderError(`${out} is no folder. Choose another name for the converted model.`);
  }
  if ((await realpath(out)) === (await realpath(dir))) {
    throw new OutputFolderError(`${out} is the model itself. Choose another folder for the converted model.`);
  }
  const foreign = names.filter((name) => name !== INT8_FILE && !COMPANIONS.includes(name));
  const model = names.includes(INT8_FILE) && names.includes('config.json');
  if (foreign.length > 0 || (names.length > 0 && !model)) {
    const what = foreign.length > 0 ? `holds other files (${show(foreign[0])})` : 'holds no pre-quantized model';
    throw new OutputFolderError(`${out} ${what} and is left as it is. Choose a new folder for the converted model.`);
  }
}

/** Gives the finished folder its name. An earlier one is moved aside first, and back if that fails. */
async function putInPlace(temporary: string, out: string, dir: string): Promise<void> {
  await checkReplaceable(dir, out); // It may have changed during a long conversion.
  const aside = `${temporary}.old`;
  let moved = false;
  try {
    await rename(out, aside);
    moved = true;
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw error;
  }
  try {
    await rename(temporary, out);
  } catch (error) {
    if (moved) await rename(aside, out);
    throw error;
  }
  await syncFolder(dirname(out));
  await rm(aside, { recursive: true, force: true });
}
