/** Writes the weight file of an open model under a temporary name, and gives it its own when it is complete. */
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { chmod, copyFile, open, readdir, rename, rm, statfs } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { say } from '../saying';
import type { ConvertOptions } from './convert';
import { DiskSpaceError, TensorError } from './errors';
import { inspectWeightFile, verifyWeightFile, type WeightFile } from './file';
import { isRunning } from './lock';
import type { OpenModel } from './model';
import { columnsOf, rowsOf, type TensorErrorEntry } from './plan';
import { UnquantizableError } from './quantize';
import { Quantizer } from './quantizer';
import { PlainSink, QuantizedSink } from './sinks';
import { type CancelSignal, errorCode, humanBytes, inSteps, throwIfCancelled } from './small';
import { diskErrors, WeightWriter } from './writer';

/** Left free on the disk: a full one breaks other programs, too. */
export const DISK_MARGIN_BYTES = 64 * 1024 * 1024;

/** The smallest weight file that threads are started for. */
export const THREADS_FROM_BYTES = 64 * 1024 * 1024;

/** A name beside `out` that no other conversion uses, and that tells whose it is. */
export function temporaryName(out: string): string {
  return `${out}.${process.pid}-${randomBytes(6).toString('hex')}.tmp`;
}

/** Quantizes or converts all tensors of a model. */
export async function make(model: OpenModel, options: ConvertOptions): Promise<WeightFile> {
  const { out } = options;
  const temporary = temporaryName(out);
  let writer: WeightWriter | undefined;
  const quantizer = quantizerFor(model.plan.dataBytes, options);
  try {
    await checkSpace(model.plan.dataBytes, options);
    writer = await WeightWriter.create(temporary, model.plan, model.identity, options.openOutput);
    const errors = await writeTensors(model, writer, quantizer, options);
    await writer.finish(errors, options.signal);
    writer = undefined;
    throwIfCancelled(options.signal);
    return await putInPlace(temporary, out);
  } catch (error) {
    await writer?.abandon();
    await rm(temporary, { force: true });
    throw error;
  } finally {
    await quantizer.close();
  }
}

/** For a weight file of this size; the caller closes it. Starting threads takes longer than a small model. */
export function quantizerFor(
  dataBytes: number,
  options: Pick<ConvertOptions, 'quantizerFile' | 'threadsFromBytes'>,
): Quantizer {
  const { quantizerFile, threadsFromBytes = THREADS_FROM_BYTES } = options;
  return new Quantizer(dataBytes < threadsFromBytes ? {} : { threadFile: quantizerFile });
}

/** Copies the weight file of a pre-quantized folder, and checks the copy. */
export async function copyWeights(from: WeightFile, options: ConvertOptions): Promise<WeightFile> {
  const { out } = options;
  const temporary = temporaryName(out);
  try {
    await checkSpace(from.fileBytes, options);
    await diskErrors(temporary, () => copyPlain(from.path, temporary));
    await verifyWeightFile(temporary, options.signal ? { signal: options.signal } : {});
    return await putInPlace(temporary, out);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Copies a file's content, not its permissions: a cache's read-only file must not become one that nobody can remove. */
export async function copyPlain(from: string, to: string): Promise<void> {
  await copyFile(from, to, constants.COPYFILE_FICLONE);
  await chmod(to, 0o644);
}

async function putInPlace(temporary: string, out: string): Promise<WeightFile> {
  await diskErrors(out, () => rename(temporary, out));
  await syncFolder(dirname(out));
  return inspectWeightFile(out);
}

async function checkSpace(bytes: number, { out, freeBytes = freeBytesOf }: ConvertOptions): Promise<void> {
  const needed = bytes + DISK_MARGIN_BYTES;
  const free = await freeBytes(dirname(out));
  if (free < needed) {
    throw new DiskSpaceError(
      say(
        'The converted weights do not fit: {0} are needed in {1}, but only {2} are free. Free some space, or use another disk.',
        ...[humanBytes(needed), dirname(out), humanBytes(free)],
      ),
    );
  }
}

/** What is free for this user on the disk of a folder. */
export async function freeBytesOf(dir: string): Promise<number> {
  const { bavail, bsize } = await statfs(dir);
  return bavail * bsize;
}

/** Removes what killed conversions to the same file or folder have left. */
export async function removeLeftovers(out: string): Promise<void> {
  const prefix = `${basename(out)}.`;
  for (const name of await readdir(dirname(out))) {
    const pid = name.startsWith(prefix) ? /^(\d+)-[0-9a-z]+\.tmp$/.exec(name.slice(prefix.length))?.[1] : undefined;
    if (pid !== undefined && !isRunning(Number(pid)))
      await rm(join(dirname(out), name), { force: true, recursive: true });
  }
}

/** After a rename: the folder's entry is on the disk, too. Not every system can do that; the file itself is safe. */
export async function syncFolder(dir: string): Promise<void> {
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
  quantizer: Quantizer,
  options: ConvertOptions,
): Promise<TensorErrorEntry[]> {
  const { plan } = model;
  const errors: TensorErrorEntry[] = [];
  const verb = plan.format === 'int8' ? 'Quantizing' : 'Converting';
  const total = plan.specs.reduce((sum, spec) => sum + rowsOf(spec) * columnsOf(spec), 0);
  const report = inSteps(options.onProgress);
  const message = `${verb} ${humanBytes(plan.dataBytes)} of weights`;
  let done = 0;
  for (const i of plan.specs.keys()) {
    const entry = await writeTensor(model, i, writer, quantizer, options.signal, (values) => {
      done += values;
      report({ message, fraction: done / total });
    });
    if (entry) errors.push(entry);
  }
  return errors;
}

/**
 * Quantizes or converts one tensor. Several may be written at a time, also with one quantizer.
 *
 * @param index of the tensor in `model.plan.specs`.
 * @param onValues gets the number of weights of every portion that was taken.
 * @returns what the tensor lost by quantizing; undefined for one that is kept in F32.
 */
export async function writeTensor(
  model: OpenModel,
  index: number,
  writer: WeightWriter,
  quantizer: Quantizer,
  signal: CancelSignal | undefined,
  onValues: (values: number) => void,
): Promise<TensorErrorEntry | undefined> {
  const { plan, source } = model;
  const spec = plan.specs[index];
  if (!spec) throw new RangeError(`there is no tensor ${index}`);
  const wanted = model.wanted[index] ?? spec;
  const factor = spec.name === 'lm_head.weight' ? (model.output?.factor ?? 1) : 1;
  try {
    if (plan.format === 'int8' && spec.kind === 'matrix') {
      const sink = new QuantizedSink(spec, writer, quantizer, factor);
      try {
        for await (const part of source.stored(wanted, signal)) {
          throwIfCancelled(signal);
          await sink.add(part);
          onValues(part.rows * columnsOf(spec));
        }
        return await sink.end();
      } finally {
        await sink.settle();
      }
    }
    const sink = new PlainSink(spec, writer);
    for await (const part of source.rows(wanted, signal)) {
      throwIfCancelled(signal);
      if (factor !== 1) for (let j = 0; j < part.values.length; j++) part.values[j] = (part.values[j] ?? 0) * factor;
      await sink.add(part);
      onValues(part.values.length);
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof UnquantizableError)) throw error;
    const where = `at row ${error.row}, column ${error.column}`;
    throw new TensorError(
      wanted.name,
      source.fileOf(wanted.name),
      `${error.message} ${where}. Download the file again.`,
    );
  }
}
