/**
 * Reads safetensors files: an 8-byte little-endian length, a JSON header of that length, then the data of all tensors
 * without holes. The file is opened once and read in pieces; no tensor needs to fit into memory.
 */
import { createHash } from 'node:crypto';
import { SafetensorsError } from './errors';
import { show } from './small';
import {
  DTYPE_BYTES,
  type DType,
  type FileProblem,
  type OpenFile,
  readFully,
  TensorFile,
  type TensorInfo,
  withFile,
} from './tensorfile';

/**
 * The longest header that is read. A tensor takes some 150 bytes of it, so 100,000 tensors fit (the largest T5 has under
 * 1000). Without a limit, eight bytes of a damaged file would ask for an allocation of any size.
 */
export const MAX_HEADER_BYTES = 16 * 1024 * 1024;

/** More dimensions than any tensor in use has; a longer list is a damaged header. */
const MAX_DIMENSIONS = 8;

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
}

/**
 * Checks and reads a header.
 *
 * @param text the JSON, without the length before it.
 * @param dataStart where the data begins in the file: 8 + header length.
 * @param fileBytes the size of the whole file.
 * @param file its name, for messages.
 * @throws SafetensorsError for anything that is not exactly a valid header of a complete file.
 */
export function parseHeader(text: Uint8Array, dataStart: number, fileBytes: number, file: string): SafetensorsHeader {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(text));
  } catch {
    throw new SafetensorsError(file, 'its header is not valid JSON.');
  }
  if (!isRecord(json)) throw new SafetensorsError(file, 'its header is no JSON object.');
  const tensors = new Map<string, TensorInfo>();
  const metadata = new Map<string, string>();
  for (const [name, entry] of Object.entries(json)) {
    if (name === '__metadata__') {
      if (!isRecord(entry)) throw new SafetensorsError(file, 'the metadata of its header is no JSON object.');
      for (const [key, value] of Object.entries(entry)) {
        if (typeof value !== 'string') throw new SafetensorsError(file, `its metadata ${show(key)} is no string.`);
        metadata.set(key, value);
      }
    } else {
      tensors.set(name, parseEntry(name, entry, dataStart, file));
    }
  }
  checkExtent([...tensors.values()], dataStart, fileBytes, file);
  return { tensors, metadata };
}

function parseEntry(name: string, entry: unknown, dataStart: number, file: string): TensorInfo {
  const fail = (problem: string) => new SafetensorsError(file, `its header says of tensor ${show(name)}: ${problem}.`);
  if (!isRecord(entry)) throw fail('nothing readable');
  const { dtype, shape, data_offsets: offsets } = entry;
  if (typeof dtype !== 'string' || !Object.hasOwn(DTYPE_BYTES, dtype)) throw fail(`unknown type ${show(dtype)}`);
  if (!Array.isArray(shape) || shape.length > MAX_DIMENSIONS || !shape.every(isCount)) {
    throw fail(`impossible shape ${show(shape)}`);
  }
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount)) {
    throw fail(`impossible offsets ${show(offsets)}`);
  }
  const [begin, end] = offsets as [number, number];
  const bytes = (shape as number[]).reduce((product, n) => product * n, DTYPE_BYTES[dtype as DType]);
  if (!isCount(bytes) || end - begin !== bytes) {
    throw fail(`${end - begin} bytes, where ${show(dtype)} ${show(shape)} takes ${bytes}`);
  }
  return { name, dtype: dtype as DType, shape: shape as number[], offset: dataStart + begin, bytes };
}

/** The tensors must fill the data from its start to the end of the file, one after another. */
function checkExtent(tensors: readonly TensorInfo[], dataStart: number, fileBytes: number, file: string): void {
  const ordered = [...tensors].sort((a, b) => a.offset - b.offset || a.bytes - b.bytes);
  let at = dataStart;
  for (const t of ordered) {
    if (t.offset < at) throw new SafetensorsError(file, `tensor ${show(t.name)} overlaps another one.`);
    if (t.offset > at) throw new SafetensorsError(file, `there is a hole before tensor ${show(t.name)}.`);
    at = t.offset + t.bytes;
    if (at > fileBytes) {
      const total = ordered.reduce((most, u) => Math.max(most, u.offset + u.bytes), 0);
      throw new SafetensorsError(
        file,
        `the file is cut short within tensor ${show(t.name)}: it has ${fileBytes} of ${total} bytes.`,
      );
    }
  }
  if (at !== fileBytes)
    throw new SafetensorsError(file, `it has ${fileBytes - at} bytes more than its header tells of.`);
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

const problem: FileProblem = (file, text) => new SafetensorsError(file, text);

export class SafetensorsFile extends TensorFile {
  readonly dataStart: number;
  readonly metadata: ReadonlyMap<string, string>;

  private constructor(file: OpenFile, text: Uint8Array, header: SafetensorsHeader) {
    super(file, header.tensors, createHash('sha256').update(text).digest('hex'), problem);
    this.dataStart = 8 + text.length;
    this.metadata = header.metadata;
  }

  /**
   * Opens a file and checks its header.
   *
   * @throws SafetensorsError when it is missing, damaged or incomplete.
   */
  static open(path: string): Promise<SafetensorsFile> {
    return withFile(path, problem, (file) => SafetensorsFile.read(file));
  }

  /** Reads the header of a file that is open. Throws as `open`, and leaves the file open. */
  static async read(file: OpenFile): Promise<SafetensorsFile> {
    const { path, handle, fileBytes } = file;
    const prefix = Buffer.alloc(8);
    if (fileBytes < 8) throw problem(path, `it has ${fileBytes} bytes, too few for a header.`);
    await readFully(handle, prefix, 0, path, problem);
    const length = prefix.readBigUInt64LE();
    if (length > BigInt(MAX_HEADER_BYTES)) {
      const limit = `its header claims ${length} bytes (at most ${MAX_HEADER_BYTES} are read)`;
      throw problem(path, `${limit}: this is no safetensors file.`);
    }
    if (8n + length > BigInt(fileBytes)) {
      throw problem(path, `the file is cut short within its header: it has ${fileBytes} bytes.`);
    }
    const text = new Uint8Array(Number(length));
    await readFully(handle, text, 8, path, problem);
    return new SafetensorsFile(file, text, parseHeader(text, 8 + text.length, fileBytes, path));
  }

  /** Fills `target` from `from` bytes into the data on, whatever tensors they belong to. */
  async readData(target: Uint8Array, from: number): Promise<void> {
    await this.readAt(target, this.dataStart + from);
  }
}
