/** Writes a weight file tensor by tensor, at places that the plan fixed, and hashes its data on the way. */
import { createHash } from 'node:crypto';
import { type FileHandle, open } from 'node:fs/promises';
import { say } from '../saying';
import { DiskSpaceError } from './errors';
import { BLOCK } from './layout';
import {
  dataStartOf,
  encodeErrors,
  encodeHeader,
  FORMAT_VERSION,
  type TensorErrorEntry,
  type WeightPlan,
} from './plan';
import { type CancelSignal, errorCode, throwIfCancelled } from './small';

/** Bytes that are read back at a time for the hash. */
const READ_BACK_BYTES = 4 * 1024 * 1024;

/** What the writer needs of a file; a seam for tests of full disks. */
export type OutputFile = Pick<FileHandle, 'write' | 'read' | 'sync' | 'close'>;
export type OpenOutput = (path: string) => Promise<OutputFile>;

const openNew: OpenOutput = (path) => open(path, 'wx+');
const openAgain: OpenOutput = (path) => open(path, 'r+');

export class WeightWriter {
  readonly path: string;
  readonly #file: OutputFile;
  readonly #plan: WeightPlan;
  readonly #metadata: Parameters<typeof encodeHeader>[1];
  readonly #dataStart: number;
  #hash = createHash('sha256');
  /** The data up to here, from its start, is in the hash. */
  #hashed = 0;
  /** Bytes written, by tensor. */
  readonly #written = new Map<string, number>();
  /** The write of each tensor that still runs, while its caller computes the next portion. */
  readonly #pending = new Map<string, Promise<void>>();

  private constructor(path: string, file: OutputFile, plan: WeightPlan, source: string) {
    this.path = path;
    this.#file = file;
    this.#plan = plan;
    this.#metadata = {
      format: `flan-${plan.format}`,
      version: String(FORMAT_VERSION),
      block: String(BLOCK),
      config: JSON.stringify(plan.config),
      source,
      errors: '',
      sha256: '',
    };
    this.#dataStart = dataStartOf(plan, this.#metadata);
  }

  /** Creates `path`, which must not exist. `source`: the identity of the original. */
  static async create(path: string, plan: WeightPlan, source: string, openOutput = openNew): Promise<WeightWriter> {
    return new WeightWriter(path, await diskErrors(path, () => openOutput(path)), plan, source);
  }

  /**
   * Goes on with a file that `create` made with the same plan and source, in which the tensors `whole` are finished.
   */
  static async reopen(
    path: string,
    plan: WeightPlan,
    source: string,
    whole: Iterable<string>,
    openOutput = openAgain,
  ): Promise<WeightWriter> {
    const writer = new WeightWriter(path, await diskErrors(path, () => openOutput(path)), plan, source);
    for (const name of whole) writer.#written.set(name, writer.#plan.byName.get(name)?.bytes ?? 0);
    return writer;
  }

  get fileBytes(): number {
    return this.#dataStart + this.#plan.dataBytes;
  }

  /**
   * Writes `bytes` into a tensor, `offset` bytes from its start. Every byte of every tensor must be written once. The
   * write may still run when this returns: the buffer must stay as it is until the next call for this tensor has returned.
   * Several tensors may be written at a time, each of them by one caller.
   */
  async write(name: string, offset: number, bytes: Uint8Array): Promise<void> {
    const tensor = this.#plan.byName.get(name);
    if (!tensor || offset + bytes.length > tensor.bytes) throw new RangeError(`${name}: written beyond its end`);
    const at = tensor.offset + offset;
    if (at === this.#hashed) {
      this.#hash.update(bytes);
      this.#hashed += bytes.length;
    }
    this.#written.set(name, (this.#written.get(name) ?? 0) + bytes.length);
    await this.settle(name);
    const pending = this.#writeAt(bytes, this.#dataStart + at);
    this.#pending.set(name, pending);
    pending.catch(() => {}); // Thrown by the next call.
  }

  /** Brings everything that was written so far onto the disk. */
  async sync(): Promise<void> {
    await this.#settleAll();
    await diskErrors(this.path, () => this.#file.sync());
  }

  /** Forgets what was written of a tensor: all of it must be written again. */
  async drop(name: string): Promise<void> {
    await this.settle(name).catch(() => {});
    this.#written.delete(name);
    if ((this.#plan.byName.get(name)?.offset ?? 0) >= this.#hashed) return;
    this.#hash = createHash('sha256');
    this.#hashed = 0;
  }

  /** Hashes what was not written in file order, writes the header, and brings all of it onto the disk. */
  async finish(
    errors: readonly TensorErrorEntry[],
    signal?: CancelSignal,
    onRead: (bytes: number, total: number) => void = () => {},
  ): Promise<void> {
    await this.#settleAll();
    for (const { name, bytes } of this.#plan.tensors) {
      const written = this.#written.get(name) ?? 0;
      if (written !== bytes) throw new RangeError(`${name}: ${written} of ${bytes} bytes were written`);
    }
    const buffer = new Uint8Array(Math.min(READ_BACK_BYTES, this.#plan.dataBytes - this.#hashed));
    while (this.#hashed < this.#plan.dataBytes) {
      throwIfCancelled(signal);
      const length = Math.min(buffer.length, this.#plan.dataBytes - this.#hashed);
      const { bytesRead } = await this.#file.read(buffer, 0, length, this.#dataStart + this.#hashed);
      if (bytesRead === 0)
        throw new DiskSpaceError(say('{0}: what was written cannot be read back. Check the disk.', this.path));
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#hashed += bytesRead;
      onRead(this.#hashed, this.#plan.dataBytes);
    }
    const metadata = { ...this.#metadata, errors: encodeErrors(errors), sha256: this.#hash.digest('hex') };
    await this.#writeAt(encodeHeader(this.#plan, metadata), 0);
    await diskErrors(this.path, () => this.#file.sync());
    await this.#file.close();
  }

  /** Gives the file up: closes it. The caller removes it. */
  async abandon(): Promise<void> {
    await this.#settleAll().catch(() => {});
    await this.#file.close().catch(() => {});
  }

  /**
   * Waits until the write of a tensor that still runs is done, and throws what went wrong. Whoever asks is told, however
   * many do: their buffers are free only then.
   */
  async settle(name: string): Promise<void> {
    const pending = this.#pending.get(name);
    try {
      await pending;
    } finally {
      if (this.#pending.get(name) === pending) this.#pending.delete(name);
    }
  }

  /** All of them, also when one fails: a file may be closed only then. */
  async #settleAll(): Promise<void> {
    const all = [...this.#pending.keys()].map((name) => this.settle(name));
    for (const one of await Promise.allSettled(all)) if (one.status === 'rejected') throw one.reason;
  }

  async #writeAt(bytes: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < bytes.length; ) {
      const { bytesWritten } = await diskErrors(this.path, () =>
        this.#file.write(bytes, done, bytes.length - done, position + done),
      );
      done += bytesWritten;
    }
  }
}

/** Runs a file operation and says of a full disk what it is. */
export async function diskErrors<T>(path: string, operation: () => Promise<T>): Promise<T> {
  try {
    return await operation();
  } catch (error) {
    throw asDiskError(path, error);
  }
}

function asDiskError(path: string, error: unknown): unknown {
  switch (errorCode(error)) {
    case 'ENOSPC':
    case 'EDQUOT':
      return new DiskSpaceError(
        say('The disk is full: {0} could not be written. Free some space and try again.', path),
        { cause: error },
      );
    case 'EFBIG':
      return new DiskSpaceError(
        say('{0} is larger than this file system or user may have. Choose another disk.', path),
        { cause: error },
      );
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new DiskSpaceError(
        say('{0} may not be written ({1}). Check the permissions of the folder.', path, errorCode(error) ?? ''),
        { cause: error },
      );
    case 'EIO':
      return new DiskSpaceError(say('Writing {0} failed (EIO). Check the disk.', path), { cause: error });
    default:
      return error;
  }
}
