/** Turns a checkpoint into a weight file: tensor by tensor, in little memory, whole or not at all. */
import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, open, readdir, realpath, rename, rm, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import type { WeightFormat } from '../engine/engine';
import { Checkpoint, formOf, hasOriginal, INT8_FILE, type TensorSource } from './checkpoint';
import { modelTypeOf, parseConfig, rawConfig, readRawConfig, type T5Config } from './config';
import { DequantizedFile } from './dequantized';
import { DiskSpaceError, NotAModelError, OutputFolderError, TensorError, WeightFileError } from './errors';
import { inspectWeightFile, openWeightFile, verifyWeightFile, type WeightFile } from './file';
import type { TensorSpec } from './layout';
import { acquireLock, isRunning } from './lock';
import { type OutputRule, outputRule } from './output';
import { columnsOf, planOf, rowsOf, type TensorErrorEntry, type WeightPlan } from './plan';
import { UnquantizableError } from './quantize';
import { PlainSink, QuantizedSink } from './sinks';
import { type CancelSignal, errorCode, humanBytes, show, throwIfCancelled } from './small';
import { diskErrors, type OpenOutput, WeightWriter } from './writer';

/** Left free on the disk: a full one breaks other programs, too. */
const DISK_MARGIN_BYTES = 64 * 1024 * 1024;

export interface Progress {
  readonly message: string;
  readonly fraction: number;
}

export interface ConvertOptions {
  /** A model folder, original or pre-quantized. */
  readonly source: string;
  /** The weight file to make. Its folder is made if it is missing. */
  readonly out: string;
  readonly format: WeightFormat;
  /** A file that is there, whole and of the same model, is taken as it is. */
  readonly reuse?: boolean;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: CancelSignal;
  /** Seams for tests: how the file is created, and how many bytes are free in a folder. */
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
  const { out, format, signal } = options;
  const model = await openModel(options.source, format, signal);
  try {
    model.source.check(model.wanted);
    await diskErrors(dirname(out), () => mkdir(dirname(out), { recursive: true }));
    const lock = await acquireLock(`${out}.lock`, signal, (pid) => {
      options.onProgress?.({ message: `Waiting for process ${pid}, which converts the same model`, fraction: 0 });
    });
    try {
      await removeLeftovers(out);
      const ready = options.reuse || lock.waited ? await sameFile(out, model.identity, format) : undefined;
      if (ready) return { file: ready, made: false, notes: model.notes };
      const file = await make(model, options);
      return { file, made: true, notes: model.notes };
    } finally {
      await lock.release();
    }
  } finally {
    await model.source.close();
  }
}

/** A model that is open for reading. */
interface OpenModel {
  readonly config: T5Config;
  readonly plan: WeightPlan;
  readonly source: TensorSource;
  /** What is read for each tensor of the plan, in its order: the output layer may come from elsewhere. */
  readonly wanted: readonly TensorSpec[];
  readonly output: OutputRule | undefined;
  readonly identity: string;
  readonly notes: string[];
}

async function openModel(dir: string, format: WeightFormat, signal?: CancelSignal): Promise<OpenModel> {
  const raw = rawConfig(await readRawConfig(dir));
  const modelType = modelTypeOf(raw);
  const notes: string[] = [];
  // The original, where both are there, is the better source of fp32.
  if ((await formOf(dir)) === 'pre-quantized' && !(format === 'fp32' && (await hasOriginal(dir)))) {
    if (format === 'int8') throw new NotAModelError(`${dir} is pre-quantized already: use it as it is, or copy it.`);
    const source = await DequantizedFile.open(join(dir, INT8_FILE), signal);
    const stored = source.file.config;
    const config = { ...parseConfig(raw, { lmHead: !stored.tied }), tied: stored.tied };
    const plan = planOf(config, format);
    notes.push('Made from int8 weights: fp32 values that are no finer than those.');
    return { config, plan, source, wanted: plan.specs, output: undefined, identity: source.file.sha256, notes };
  }
  const checkpoint = await Checkpoint.open(dir);
  try {
    const has = { lmHead: await checkpoint.outputIsItsOwn(signal) };
    const config = parseConfig(raw, has, notes);
    const output = outputRule(raw, modelType, config.dModel, has);
    const plan = planOf(config, format);
    const wanted = plan.specs.map((spec) => (spec.name === 'lm_head.weight' ? { ...spec, name: output.from } : spec));
    return { config, plan, source: checkpoint, wanted, output, identity: identityOf(checkpoint), notes };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** What a checkpoint is recognized by: names, sizes and headers of its files. The same on every machine. */
export function identityOf(checkpoint: Checkpoint): string {
  const hash = createHash('sha256');
  for (const file of checkpoint.files) hash.update(`${basename(file.path)} ${file.fileBytes} ${file.headerHash}\n`);
  return hash.digest('hex');
}

/** The file that another process has just made, if it is one of the same model. */
async function sameFile(path: string, identity: string, format: WeightFormat): Promise<WeightFile | undefined> {
  try {
    const file = await openWeightFile(path);
    return file.source === identity && file.format === format ? file : undefined;
  } catch (error) {
    if (error instanceof WeightFileError) return undefined;
    throw error;
  }
}

async function make(model: OpenModel, options: ConvertOptions): Promise<WeightFile> {
  const { out } = options;
  const temporary = `${out}.${process.pid}-${Date.now().toString(36)}.tmp`;
  let writer: WeightWriter | undefined;
  try {
    await checkSpace(model.plan, options);
    writer = await WeightWriter.create(temporary, model.plan, model.identity, options.openOutput);
    const errors = await writeTensors(model, writer, options);
    await writer.finish(errors, options.signal);
    writer = undefined;
    throwIfCancelled(options.signal);
    const file = await inspectWeightFile(temporary);
    await diskErrors(out, () => rename(temporary, out));
    await syncFolder(dirname(out));
    return { ...file, path: out };
  } catch (error) {
    await writer?.abandon();
    await rm(temporary, { force: true });
    throw error;
  }
}

async function checkSpace(plan: WeightPlan, { out, freeBytes = freeBytesOf }: ConvertOptions): Promise<void> {
  const needed = plan.dataBytes + DISK_MARGIN_BYTES;
  const free = await freeBytes(dirname(out));
  if (free < needed) {
    const sizes = `${humanBytes(needed)} are needed in ${dirname(out)}, but only ${humanBytes(free)} are free`;
    throw new DiskSpaceError(`The converted weights do not fit: ${sizes}. Free some space, or use another disk.`);
  }
}

async function freeBytesOf(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

/** Removes what killed conversions to the same file have left. */
async function removeLeftovers(out: string): Promise<void> {
  const prefix = `${basename(out)}.`;
  for (const name of await readdir(dirname(out))) {
    const pid = name.startsWith(prefix) ? /^(\d+)-[0-9a-z]+\.tmp$/.exec(name.slice(prefix.length))?.[1] : undefined;
    if (pid !== undefined && !isRunning(Number(pid))) await rm(join(dirname(out), name), { force: true });
  }
}

/** After a rename: the folder's entry is on the disk, too. Not every system can do that; the file itself is safe. */
async function syncFolder(dir: string): Promise<void> {
  try {
    const handle = await open(dir, 'r');
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (!['EISDIR', 'EPERM', 'EACCES', 'EINVAL', 'ENOTSUP'].includes(errorCode(error) ?? '')) throw error;
  }
}

async function writeTensors(
  model: OpenModel,
  writer: WeightWriter,
  options: ConvertOptions,
): Promise<TensorErrorEntry[]> {
  const { plan, source } = model;
  const errors: TensorErrorEntry[] = [];
  const verb = plan.format === 'int8' ? 'Quantizing' : 'Converting';
  const total = plan.specs.reduce((sum, spec) => sum + rowsOf(spec) * columnsOf(spec), 0);
  let done = 0;
  for (const [i, spec] of plan.specs.entries()) {
    const wanted = model.wanted[i] ?? spec;
    const factor = spec.name === 'lm_head.weight' ? (model.output?.factor ?? 1) : 1;
    const sink =
      plan.format === 'int8' && spec.kind === 'matrix'
        ? new QuantizedSink(spec, writer, errors)
        : new PlainSink(spec, writer);
    for await (const part of source.rows(wanted, options.signal)) {
      throwIfCancelled(options.signal);
      if (factor !== 1) for (let j = 0; j < part.values.length; j++) part.values[j] = (part.values[j] ?? 0) * factor;
      try {
        await sink.add(part.row, part.rows, part.values);
      } catch (error) {
        if (!(error instanceof UnquantizableError)) throw error;
        const where = `at row ${part.row + error.row}, column ${error.column}`;
        throw new TensorError(
          wanted.name,
          source.fileOf(wanted.name),
          `${error.message} ${where}. Download the file again.`,
        );
      }
      done += part.values.length;
      options.onProgress?.({ message: `${verb} ${humanBytes(plan.dataBytes)} of weights`, fraction: done / total });
    }
    sink.end();
  }
  return errors;
}

/** What is copied from a checkpoint beside its weights, where it is there. */
const COMPANIONS = [
  'config.json',
  'generation_config.json',
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'spiece.model',
  'README.md',
  'LICENSE',
  'LICENSE.txt',
  'NOTICE',
];

export interface ConvertFolderOptions
  extends Pick<ConvertOptions, 'onProgress' | 'signal' | 'openOutput' | 'freeBytes'> {}

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
  const temporary = `${out}.${process.pid}-${Date.now().toString(36)}.tmp`;
  try {
    await diskErrors(temporary, () => mkdir(temporary, { recursive: true }));
    const weights = join(temporary, INT8_FILE);
    const quantized = (await formOf(dir)) === 'pre-quantized';
    const notes = quantized
      ? await copyWeights(join(dir, INT8_FILE), weights, options)
      : (await convertCheckpoint({ ...options, source: dir, out: weights, format: 'int8' })).notes;
    const missing: string[] = [];
    for (const name of COMPANIONS) {
      try {
        await diskErrors(join(temporary, name), () => copyPlain(join(dir, name), join(temporary, name)));
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error;
        if (name.startsWith('tokenizer'))
          missing.push(`${name} is missing in ${dir}: text cannot be given to the model.`);
      }
    }
    throwIfCancelled(options.signal);
    const { fileBytes } = await inspectWeightFile(weights);
    await putInPlace(temporary, out, dir);
    return { dir: out, bytes: fileBytes, notes: [...notes, ...missing] };
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    // The temporary folder means nothing to a person.
    if (error instanceof DiskSpaceError)
      throw new DiskSpaceError(error.message.replaceAll(temporary, out), { cause: error });
    throw error;
  }
}

/** Copies a file's content, not its permissions: a cache's read-only file must not become one that nobody can remove. */
async function copyPlain(from: string, to: string): Promise<void> {
  await copyFile(from, to);
  await chmod(to, 0o644);
}

async function copyWeights(from: string, to: string, options: ConvertFolderOptions): Promise<string[]> {
  await verifyWeightFile(from, options);
  await diskErrors(to, () => copyPlain(from, to));
  await verifyWeightFile(to, options);
  return ['The weights were int8 already: they were copied.'];
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
