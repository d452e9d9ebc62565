/** Opens weight files: header compared with what the configuration asks for, data compared with its hash. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { WeightFormat } from '../engine/engine';
import { checkStoredConfig, type T5Config } from './config';
import { WeightFileError } from './errors';
import { BLOCK } from './layout';
import {
  FORMAT_VERSION,
  headerIsWhole,
  planOf,
  type TensorErrorEntry,
  type WeightMetadata,
  type WeightPlan,
} from './plan';
import { SafetensorsFile } from './safetensors';
import { type CancelSignal, humanBytes, inSteps, type Progress, throwIfCancelled } from './small';

/** Below this size the hash is checked on every opening: a fraction of a second. */
export const ALWAYS_VERIFIED_BYTES = 256 * 1024 * 1024;

const HASH_PIECE_BYTES = 1024 * 1024;

/** Where a tensor lies in a weight file. */
export interface TensorPlace {
  /** From the start of the file, in bytes. */
  readonly offset: number;
  readonly bytes: number;
  readonly dtype: 'U8' | 'F32' | 'F16';
  readonly shape: readonly number[];
}

/** A weight file that was found whole. Nothing is kept open. */
export interface WeightFile {
  readonly path: string;
  readonly format: WeightFormat;
  /** The configuration it was made for. */
  readonly config: T5Config;
  readonly fileBytes: number;
  /** When it was last changed, in milliseconds. */
  readonly changedMs: number;
  /** Where the data starts, a multiple of 4096. */
  readonly dataStart: number;
  /** SHA-256 of the data, hexadecimal. */
  readonly sha256: string;
  /** The identity of the checkpoint it was made from. */
  readonly source: string;
  /** The tensors that lost most by quantizing, worst first. */
  readonly errors: readonly TensorErrorEntry[];
  /** All tensors' names in file order, scales included. */
  readonly names: readonly string[];
  /** @throws WeightFileError for a name that the file does not have. */
  offsetOf(name: string): TensorPlace;
}

export interface OpenOptions {
  /** Where it is remembered which large files were found whole; without it they are read on every opening. */
  readonly stampDir?: string;
  /** Instead of ALWAYS_VERIFIED_BYTES; a seam for tests. */
  readonly alwaysBelow?: number;
  readonly onProgress?: (progress: Progress) => void;
  readonly signal?: CancelSignal;
}

/**
 * Opens a weight file for use.
 *
 * The data is compared with its hash on every opening of a file below ALWAYS_VERIFIED_BYTES; of a larger one, once for
 * every path, size, time of change and inode.
 *
 * @throws WeightFileError for a file that is damaged, incomplete, of another version, or no weight file at all.
 */
export async function openWeightFile(path: string, options: OpenOptions = {}): Promise<WeightFile> {
  const { file, info } = await readHeader(path);
  try {
    const stamp =
      file.fileBytes < (options.alwaysBelow ?? ALWAYS_VERIFIED_BYTES)
        ? undefined
        : await stampOf(path, info.sha256, options.stampDir);
    if (!stamp || !(await stamp.isSet())) {
      await verifyData(file, info, options);
      await stamp?.set();
    }
    return info;
  } finally {
    await file.close();
  }
}

/** Compares a weight file with its hash, whatever was remembered of it. Throws as `openWeightFile`. */
export async function verifyWeightFile(path: string, options: Omit<OpenOptions, 'stampDir'> = {}): Promise<WeightFile> {
  const { file, info } = await readHeader(path);
  try {
    await verifyData(file, info, options);
    return info;
  } finally {
    await file.close();
  }
}

/** Reads a weight file's header without looking at its data: for lists and sources, not for use in an engine. */
export async function inspectWeightFile(path: string): Promise<WeightFile> {
  const { file, info } = await readHeader(path);
  await file.close();
  return info;
}

async function readHeader(path: string): Promise<{ file: SafetensorsFile; info: WeightFile }> {
  let file: SafetensorsFile;
  try {
    file = await SafetensorsFile.open(path);
  } catch (error) {
    const problem = error instanceof Error ? error.message.replace(`${path}: `, '') : String(error);
    throw new WeightFileError(path, problem.replace(/ Download this file again\.$/, ''), { cause: error });
  }
  try {
    const metadata = metadataOf(file);
    const { plan, errors } = parseMetadata(path, metadata);
    checkTensors(file, plan, metadata);
    return { file, info: weightFile(file, plan, metadata, errors) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

function metadataOf(file: SafetensorsFile): WeightMetadata {
  const get = (key: keyof WeightMetadata): string => {
    const value = file.metadata.get(key);
    if (value === undefined) throw new WeightFileError(file.path, `it is no weight file of this program (no ${key}).`);
    return value;
  };
  const format = get('format');
  if (format !== 'flan-int8' && format !== 'flan-fp32') {
    throw new WeightFileError(file.path, 'it is no weight file of this program.');
  }
  const version = get('version');
  const block = get('block');
  if (version !== String(FORMAT_VERSION) || block !== String(BLOCK)) {
    throw new WeightFileError(file.path, `it has format version ${version}, but version ${FORMAT_VERSION} is needed.`);
  }
  return {
    format,
    version,
    block,
    config: get('config'),
    source: get('source'),
    errors: get('errors'),
    sha256: get('sha256'),
    headerSha256: get('headerSha256'),
  };
}

function parseMetadata(path: string, m: WeightMetadata): { plan: WeightPlan; errors: TensorErrorEntry[] } {
  try {
    // The header's own hash, compared below, is what says that the configuration is the one that was written.
    const config = checkStoredConfig(JSON.parse(m.config));
    const plan = planOf(config, m.format === 'flan-int8' ? 'int8' : 'fp32');
    return { plan, errors: JSON.parse(m.errors) as TensorErrorEntry[] };
  } catch (error) {
    throw new WeightFileError(path, 'its header is damaged.', { cause: error });
  }
}

function checkTensors(file: SafetensorsFile, plan: WeightPlan, metadata: WeightMetadata): void {
  const damaged = (problem: string) => new WeightFileError(file.path, `its header is damaged: ${problem}.`);
  for (const planned of plan.tensors) {
    const found = file.tensors.get(planned.name);
    if (!found) throw damaged(`tensor ${planned.name} is missing`);
    const same =
      found.dtype === planned.dtype &&
      found.shape.join() === planned.shape.join() &&
      found.offset === file.dataStart + planned.offset;
    if (!same) throw damaged(`tensor ${planned.name} is not what its configuration asks for`);
  }
  if (file.tensors.size !== plan.tensors.length)
    throw damaged('it has tensors that its configuration does not ask for');
  if (!headerIsWhole(plan, metadata)) throw damaged('it is not the one that was written');
}

function weightFile(
  file: SafetensorsFile,
  plan: WeightPlan,
  metadata: WeightMetadata,
  errors: readonly TensorErrorEntry[],
): WeightFile {
  const { path, fileBytes, dataStart } = file;
  return {
    path,
    format: plan.format,
    config: plan.config,
    fileBytes,
    changedMs: file.mtimeMs,
    dataStart,
    sha256: metadata.sha256,
    source: metadata.source,
    errors,
    names: plan.tensors.map((tensor) => tensor.name),
    offsetOf(name) {
      const tensor = plan.byName.get(name);
      if (!tensor) throw new WeightFileError(path, `it has no tensor ${name}.`);
      return { offset: dataStart + tensor.offset, bytes: tensor.bytes, dtype: tensor.dtype, shape: tensor.shape };
    },
  };
}

async function verifyData(file: SafetensorsFile, info: WeightFile, options: OpenOptions): Promise<void> {
  const hash = createHash('sha256');
  const total = info.fileBytes - info.dataStart;
  const message = `Checking ${humanBytes(total)} of weights`;
  const report = inSteps(options.onProgress);
  const buffer = new Uint8Array(Math.min(HASH_PIECE_BYTES, total));
  for (let done = 0; done < total; ) {
    throwIfCancelled(options.signal);
    // Piece by piece over the whole data, tensors' borders disregarded.
    const piece = buffer.subarray(0, Math.min(buffer.length, total - done));
    await file.readData(piece, done);
    hash.update(piece);
    done += piece.length;
    report({ message, fraction: done / total });
  }
  if (hash.digest('hex') !== info.sha256)
    throw new WeightFileError(info.path, 'its data is damaged (SHA-256 differs).');
}

/** The note that a large file was found whole, kept while path, size, time of change and inode stay the same. */
async function stampOf(path: string, sha256: string, dir: string | undefined) {
  if (dir === undefined) return undefined;
  const real = await realpath(path);
  const { size, mtimeNs, ino } = await stat(real, { bigint: true });
  const name = createHash('sha256').update(real).digest('hex').slice(0, 32);
  const stampPath = join(dir, `${name}.verified`);
  const text = JSON.stringify({ path: real, size: `${size}`, mtimeNs: `${mtimeNs}`, ino: `${ino}`, sha256 });
  return {
    isSet: async () => (await readFile(stampPath, 'utf8').catch(() => '')) === text,
    set: async () => {
      // A stamp that cannot be written costs time at the next start, nothing else.
      const temporary = `${stampPath}.${process.pid}.tmp`;
      try {
        await mkdir(dir, { recursive: true });
        await writeFile(temporary, text);
        await rename(temporary, stampPath);
      } catch {
        await rm(temporary, { force: true }).catch(() => {});
      }
    },
  };
}
