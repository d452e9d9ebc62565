/** A file of tensors that lie in it as plain bytes: opened once, and read in pieces. What kind of file, subclasses know. */
import { type FileHandle, open } from 'node:fs/promises';
import { FlanError } from '../errors';
import { TensorError } from './errors';
import { type CancelSignal, errorCode, throwIfCancelled } from './small';

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

/** A run of bytes of a tensor. The buffer is used again: it is valid until the next but one piece is asked for. */
export interface Piece {
  /** Of the first byte, within the tensor. */
  readonly offset: number;
  /** Starts at a multiple of 8 within its buffer. */
  readonly bytes: Uint8Array;
}

/** What a file that cannot be read is reported as. */
export type FileProblem = (file: string, problem: string) => FlanError;

/** Where bytes are read from: a file of this machine, or one behind a line. */
export interface ReadHandle {
  read(target: Uint8Array, offset: number, length: number, position: number): Promise<{ readonly bytesRead: number }>;
  close(): Promise<void>;
}

/** An open file with its size. */
export interface OpenFile {
  readonly path: string;
  readonly handle: ReadHandle;
  readonly fileBytes: number;
  readonly mtimeMs: number;
}

/**
 * Opens a file, and closes it again if `use` fails. Symbolic links are followed.
 *
 * @throws what `problem` makes of a file that is missing or cannot be opened.
 */
export async function withFile<T>(path: string, problem: FileProblem, use: (file: OpenFile) => Promise<T>): Promise<T> {
  let handle: FileHandle;
  try {
    handle = await open(path, 'r');
  } catch (error) {
    const code = errorCode(error);
    throw problem(path, code === 'ENOENT' ? 'the file is missing.' : `the file cannot be opened (${code}).`);
  }
  try {
    const stat = await handle.stat();
    if (!stat.isFile()) throw problem(path, 'this is no file.');
    return await use({ path, handle, fileBytes: stat.size, mtimeMs: stat.mtimeMs });
  } catch (error) {
    await handle.close();
    throw error;
  }
}

export class TensorFile {
  readonly path: string;
  readonly fileBytes: number;
  readonly mtimeMs: number;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  /** SHA-256 of what says where the tensors are, hexadecimal: with the size of the file, its identity. */
  readonly headerHash: string;
  readonly #handle: ReadHandle;
  readonly #problem: FileProblem;

  constructor(file: OpenFile, tensors: ReadonlyMap<string, TensorInfo>, headerHash: string, problem: FileProblem) {
    this.path = file.path;
    this.fileBytes = file.fileBytes;
    this.mtimeMs = file.mtimeMs;
    this.tensors = tensors;
    this.headerHash = headerHash;
    this.#handle = file.handle;
    this.#problem = problem;
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
    await this.readAt(target, info.offset + from);
  }

  /** Fills `target` from the byte `position` of the file on. */
  protected async readAt(target: Uint8Array, position: number): Promise<void> {
    await readFully(this.#handle, target, position, this.path, this.#problem);
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

/** Fills `target` from a file, or throws what `problem` makes of a file that is too short or cannot be read. */
export async function readFully(
  handle: Pick<ReadHandle, 'read'>,
  target: Uint8Array,
  position: number,
  path: string,
  problem: FileProblem,
): Promise<void> {
  let done = 0;
  while (done < target.length) {
    let bytesRead: number;
    try {
      ({ bytesRead } = await handle.read(target, done, target.length - done, position + done));
    } catch (error) {
      // What a line says of itself is more than a file's error code.
      if (error instanceof FlanError) throw error;
      throw problem(path, `reading failed (${errorCode(error) ?? 'unknown error'}).`);
    }
    if (bytesRead === 0) throw problem(path, `the file ends at byte ${position + done}, too early.`);
    done += bytesRead;
  }
}
