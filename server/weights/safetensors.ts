/**
 * Reads safetensors files: an 8-byte little-endian length, a JSON header of that length, then the data of all tensors
 * without holes. The file is opened once and read in pieces; no tensor needs to fit into memory.
 */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { SafetensorsError, TensorError } from './errors';
import { type CancelSignal, errorCode, show, throwIfCancelled } from './small';

/**
 * The longest header that is read. A tensor takes some 150 bytes of it, so 100,000 tensors fit (the largest T5 has under
 * 1000). Without a limit, eight bytes of a damaged file would ask for an allocation of any size.
 */
export const MAX_HEADER_BYTES = 16 * 1024 * 1024;

/** More dimensions than any tensor in use has; a longer list is a damaged header. */
const MAX_DIMENSIONS = 8;

/** Bytes of one element. */
export const DTYPE_BYTES = {
  BOOL: 1,
  U8: 1,
  I8: 1,
  F8_E5M2: 1,
  F8_E4M3: 1,
  I16: 2,
  U16: 2,
  F16: 2,
  BF16: 2,
  I32: 4,
  U32: 4,
  F32: 4,
  I64: 8,
  U64: 8,
  F64: 8,
} as const;

export type DType = keyof typeof DTYPE_BYTES;

export interface TensorInfo {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** From the start of the file. */
  readonly offset: number;
  readonly bytes: number;
}

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

/** A run of bytes of a tensor. The buffer is used again: it is valid until the next but one piece is asked for. */
export interface Piece {
  /** Of the first byte, within the tensor. */
  readonly offset: number;
  /** Starts at a multiple of 8 within its buffer. */
  readonly bytes: Uint8Array;
}

export class SafetensorsFile {
  readonly path: string;
  readonly fileBytes: number;
  readonly mtimeMs: number;
  readonly dataStart: number;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: ReadonlyMap<string, string>;
  /** SHA-256 of the header, hexadecimal: with the size of the file, its identity. */
  readonly headerHash: string;
  readonly #handle: FileHandle;

  private constructor(
    path: string,
    handle: FileHandle,
    stat: { readonly size: number; readonly mtimeMs: number },
    text: Uint8Array,
    header: SafetensorsHeader,
  ) {
    this.path = path;
    this.#handle = handle;
    this.fileBytes = stat.size;
    this.mtimeMs = stat.mtimeMs;
    this.dataStart = 8 + text.length;
    this.tensors = header.tensors;
    this.metadata = header.metadata;
    this.headerHash = createHash('sha256').update(text).digest('hex');
  }

  /**
   * Opens a file and checks its header. Symbolic links are followed.
   *
   * @throws SafetensorsError when it is missing, damaged or incomplete.
   */
  static async open(path: string): Promise<SafetensorsFile> {
    let handle: FileHandle;
    try {
      handle = await open(path, 'r');
    } catch (error) {
      const code = errorCode(error);
      throw new SafetensorsError(
        path,
        code === 'ENOENT' ? 'the file is missing.' : `the file cannot be opened (${code}).`,
      );
    }
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) throw new SafetensorsError(path, 'this is no file.');
      const prefix = Buffer.alloc(8);
      if (stat.size < 8) throw new SafetensorsError(path, `it has ${stat.size} bytes, too few for a header.`);
      await readFully(handle, prefix, 0, path);
      const length = prefix.readBigUInt64LE();
      if (length > BigInt(MAX_HEADER_BYTES)) {
        throw new SafetensorsError(
          path,
          `its header claims ${length} bytes (at most ${MAX_HEADER_BYTES} are read): this is no safetensors file.`,
        );
      }
      if (8n + length > BigInt(stat.size)) {
        throw new SafetensorsError(path, `the file is cut short within its header: it has ${stat.size} bytes.`);
      }
      const text = new Uint8Array(Number(length));
      await readFully(handle, text, 8, path);
      const header = parseHeader(text, 8 + text.length, stat.size, path);
      return new SafetensorsFile(path, handle, stat, text, header);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** @throws TensorError when there is no tensor of this name. */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (!info) throw new TensorError(name, this.path, 'is missing. Download the model again.');
    return info;
  }

  /** All bytes of one tensor. Only for small ones: `pieces` streams. */
  async read(name: string): Promise<Uint8Array> {
    const info = this.info(name);
    const bytes = new Uint8Array(info.bytes);
    await this.readInto(bytes, info, 0);
    return bytes;
  }

  /** Fills `target` from `from` bytes into the tensor on. */
  async readInto(target: Uint8Array, info: TensorInfo, from: number): Promise<void> {
    if (from < 0 || from + target.length > info.bytes) throw new RangeError(`${info.name}: read beyond its end`);
    await readFully(this.#handle, target, info.offset + from, this.path);
  }

  /** Fills `target` from `from` bytes into the data on, whatever tensors they belong to. */
  async readData(target: Uint8Array, from: number): Promise<void> {
    await readFully(this.#handle, target, this.dataStart + from, this.path);
  }

  /**
   * Streams one tensor in pieces of `pieceBytes` (the last one shorter); while one is worked on, the next is read.
   */
  async *pieces(name: string, pieceBytes: number, signal?: CancelSignal): AsyncGenerator<Piece, void, void> {
    const info = this.info(name);
    const length = Math.min(pieceBytes, info.bytes);
    const buffers = [new Uint8Array(length), new Uint8Array(info.bytes > length ? length : 0)] as const;
    const start = (offset: number, i: number): Promise<Uint8Array> => {
      const target = buffers[i % 2 === 0 ? 0 : 1].subarray(0, Math.min(length, info.bytes - offset));
      const read = this.readInto(target, info, offset).then(() => target);
      read.catch(() => {}); // It is awaited below; until then it must not count as unhandled.
      return read;
    };
    if (info.bytes === 0) return;
    let pending: Promise<Uint8Array> | undefined = start(0, 0);
    try {
      for (let i = 0, offset = 0; pending; i++) {
        throwIfCancelled(signal);
        const bytes: Uint8Array = await pending;
        const next = offset + bytes.length;
        pending = next < info.bytes ? start(next, i + 1) : undefined;
        yield { offset, bytes };
        offset = next;
      }
    } finally {
      await pending?.catch(() => {});
    }
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }
}

async function readFully(handle: FileHandle, target: Uint8Array, position: number, path: string): Promise<void> {
  let done = 0;
  while (done < target.length) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await handle.read(target, done, target.length - done, position + done));
    } catch (error) {
      throw new SafetensorsError(path, `reading failed (${errorCode(error) ?? 'unknown error'}).`);
    }
    if (bytesRead === 0) throw new SafetensorsError(path, `the file ends at byte ${position + done}, too early.`);
    done += bytesRead;
  }
}
