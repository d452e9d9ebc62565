/** A file of tensors that lie in it as plain bytes: opened once, and read in pieces. What kind of file, subclasses know. */
import { type FileHandle, open } from 'node:fs/promises';
import { FlanError } from '../errors';
import { crc32 } from './crc32';
import { TensorError } from './errors';
import { gather, type Scattered } from './scattered';
import { type CancelSignal, errorCode, show, throwIfCancelled } from './small';

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
  /** Of its first element, from the start of the file. */
  readonly offset: number;
  /** Of all its elements. */
  readonly bytes: number;
  /** Absent: it lies row after row. */
  readonly scattered?: Scattered;
  /** What is known of the bytes that it lies in. */
  readonly sum?: EntrySum;
}

/** A run of bytes whose CRC-32 its file tells. */
export interface EntrySum {
  /** What the file calls it. */
  readonly name: string;
  /** From the start of the file. */
  readonly offset: number;
  readonly bytes: number;
  readonly crc32: number;
}

/** Bytes of the file that a tensor is read from. */
export function extentOf({ bytes, scattered }: TensorInfo): number {
  return scattered?.spanBytes ?? bytes;
}

/** A run of bytes of a tensor. The buffer is used again: it is valid until the next but one piece is asked for. */
export interface Piece {
  /** Of the first byte, within the tensor. */
  readonly offset: number;
  /** Starts at a multiple of 8 within its buffer. */
  readonly bytes: Uint8Array;
}

/** Bytes that are read at a time of what is not handed out as it is read. */
const SPAN_PIECE_BYTES = 1024 * 1024;

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
  /** Its bytes are compared with a checksum of the whole file by whoever hands them out: no other sum is looked at. */
  readonly summed?: boolean;
  /** What a tensor does not need is not to be read: bytes come from a line, and pass once. */
  readonly once?: boolean;
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
  readonly #once: boolean;
  /** Offsets of the entries that were read through because several tensors share them. */
  readonly #entries = new Map<number, Promise<void>>();

  constructor(file: OpenFile, tensors: ReadonlyMap<string, TensorInfo>, headerHash: string, problem: FileProblem) {
    this.path = file.path;
    this.fileBytes = file.fileBytes;
    this.mtimeMs = file.mtimeMs;
    this.tensors = tensors;
    this.headerHash = headerHash;
    this.#handle = file.handle;
    this.#problem = problem;
    this.#once = file.once === true;
  }

  /** @throws TensorError when there is no tensor of this name. */
  info(name: string): TensorInfo {
    const info = this.tensors.get(name);
    if (!info) throw new TensorError(name, this.path, 'is missing. Download the model again.');
    return info;
  }

  /** All bytes of one tensor. Only for small ones: `pieces` streams. */
  async read(name: string): Promise<Uint8Array> {
    const bytes = new Uint8Array(this.info(name).bytes);
    for await (const piece of this.pieces(name, Math.max(8, bytes.length))) bytes.set(piece.bytes, piece.offset);
    return bytes;
  }

  /** Fills `target` from `from` bytes into a tensor that lies row after row. */
  async readInto(target: Uint8Array, info: TensorInfo, from: number): Promise<void> {
    if (from < 0 || from + target.length > info.bytes) throw new RangeError(`${info.name}: read beyond its end`);
    await this.readAt(target, info.offset + from);
  }

  /** Fills `target` from the byte `position` of the file on. */
  protected async readAt(target: Uint8Array, position: number): Promise<void> {
    await readFully(this.#handle, target, position, this.path, this.#problem);
  }

  /**
   * Streams one tensor in pieces of `pieceBytes`, whole elements (the last one shorter); while one is worked on, the next is
   * read. The sum of its bytes, where the file tells one, is compared before the last piece is handed out.
   */
  async *pieces(name: string, pieceBytes: number, signal?: CancelSignal): AsyncGenerator<Piece, void, void> {
    const info = this.info(name);
    if (info.bytes === 0) return;
    const { scattered: places, sum } = info;
    const own = sum?.offset === info.offset && sum.bytes === extentOf(info);
    if (sum && !own && !this.#once) await this.#checkEntry(sum, signal);
    const runs = this.#runs(info.offset, extentOf(info), places ? SPAN_PIECE_BYTES : pieceBytes, signal);
    const checked = own ? this.#checked(runs, sum) : runs;
    if (!places) return yield* checked;
    const span = new Uint8Array(places.spanBytes);
    for await (const { offset, bytes } of checked) span.set(bytes, offset);
    const size = DTYPE_BYTES[info.dtype];
    const pieces = [0, 1].map(() => new Uint8Array(Math.min(pieceBytes, info.bytes)));
    for (let i = 0, offset = 0; offset < info.bytes; i++, offset += pieceBytes) {
      throwIfCancelled(signal);
      const bytes = (pieces[i % 2] ?? span).subarray(0, Math.min(pieceBytes, info.bytes - offset));
      gather(span, size, info.shape, places, offset / size, bytes);
      yield { offset, bytes };
    }
  }

  /** A run of bytes of the file in pieces, read ahead. */
  async *#runs(start: number, total: number, pieceBytes: number, signal?: CancelSignal): AsyncGenerator<Piece> {
    const length = Math.min(pieceBytes, total);
    const buffers = [new Uint8Array(length), new Uint8Array(total > length ? length : 0)] as const;
    const begin = (offset: number, i: number): Promise<Uint8Array> => {
      const target = buffers[i % 2 === 0 ? 0 : 1].subarray(0, Math.min(length, total - offset));
      const read = this.readAt(target, start + offset).then(() => target);
      read.catch(() => {}); // It is awaited below; until then it must not count as unhandled.
      return read;
    };
    let pending: Promise<Uint8Array> | undefined = begin(0, 0);
    try {
      for (let i = 0, offset = 0; pending; i++) {
        throwIfCancelled(signal);
        const bytes: Uint8Array = await pending;
        const next = offset + bytes.length;
        pending = next < total ? begin(next, i + 1) : undefined;
        yield { offset, bytes };
        offset = next;
      }
    } finally {
      await pending?.catch(() => {});
    }
  }

  /** Hands pieces on, the last one only when the sum of all is right. */
  async *#checked(pieces: AsyncIterable<Piece>, sum: EntrySum): AsyncGenerator<Piece> {
    let crc = 0;
    for await (const piece of pieces) {
      crc = crc32(piece.bytes, crc);
      if (piece.offset + piece.bytes.length === sum.bytes && crc !== sum.crc32) {
        throw this.#problem(this.path, `its entry ${show(sum.name)} is damaged: its checksum (CRC-32) is another one.`);
      }
      yield piece;
    }
  }

  /** Reads an entry through, once, because the tensors in it are only parts of it. */
  async #checkEntry(sum: EntrySum, signal?: CancelSignal): Promise<void> {
    let checked = this.#entries.get(sum.offset);
    if (!checked) {
      checked = (async () => {
        for await (const _ of this.#checked(this.#runs(sum.offset, sum.bytes, SPAN_PIECE_BYTES, signal), sum));
      })();
      this.#entries.set(sum.offset, checked);
    }
    await checked;
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
