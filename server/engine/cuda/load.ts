/**
 * Brings a weight file onto the card: pieces of the file are read ahead into a few host buffers, copied in file order
 * into a staging area, and each tensor that is whole is handed to its owner, which re-lays it. Copies and re-laying are
 * queued on one stream, so the staging area may be overwritten as soon as its tensor was placed.
 */
import { type FileHandle, open } from 'node:fs/promises';
import { CancelledError } from '../../errors';
import type { T5Config } from '../../weights/config';
import type { WeightFile } from '../../weights/file';
import { tensorsOf } from '../../weights/layout';
import { type PlannedTensor, planOf } from '../../weights/plan';
import type { StopSignal } from '../engine';
import type { CudaDriver } from './driver';
import { CudaShapeError } from './errors';
import type { DevicePtr, WeightOwner } from './seams';

/** Large enough that a read costs little besides its bytes, small enough that several fit anywhere. */
const PIECE_BYTES = 16 * 1024 * 1024;
/** Reads under way at a time: one is copied to the card while the others are filled. */
const READS = 4;
const ALIGN = 256;

/** A stretch of the file, and where it goes in the staging area. `last`: the tensor is whole after it. */
interface Piece {
  readonly offset: number;
  readonly bytes: number;
  readonly to: number;
  readonly tensor: number;
  readonly last: boolean;
}

/** Which tensors there are, and where each lies. */
interface TensorPlaces {
  readonly config: T5Config;
  offsetOf(name: string): { readonly offset: number; readonly bytes: number };
}

interface Staging {
  readonly name: string;
  readonly shape: readonly number[];
  readonly scalesAt: number | undefined;
}

/** Bytes of the staging area: the largest tensor of a model with its scales. */
export function stagingBytes(config: T5Config): number {
  const { byName } = planOf(config, 'int8');
  return plan({ config, offsetOf: (name) => tensorIn(byName, name) }).bytes;
}

function tensorIn(tensors: ReadonlyMap<string, PlannedTensor>, name: string): PlannedTensor {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw new CudaShapeError(`its plan has no tensor ${name}`);
  return tensor;
}

/**
 * Places every tensor of `file` with the owner that owns it.
 *
 * @throws CancelledError when `signal` is set meanwhile; CudaShapeError for a tensor without an owner; errors of the
 * driver and of the file system as they are.
 */
export async function loadWeights(
  driver: Pick<CudaDriver, 'alloc' | 'free' | 'upload' | 'synchronize'>,
  file: WeightFile,
  owners: readonly WeightOwner[],
  onProgress?: (fraction: number) => void,
  signal?: StopSignal,
): Promise<void> {
  const { tensors, pieces, bytes } = plan(file);
  const staging = driver.alloc(bytes, 'loading the weights');
  const handle = await open(file.path, 'r');
  try {
    const buffers = Array.from({ length: READS }, () => Buffer.allocUnsafe(Math.min(PIECE_BYTES, bytes)));
    const total = pieces.reduce((sum, piece) => sum + piece.bytes, 0);
    const reads: Promise<Buffer>[] = [];
    const read = (i: number) => {
      const piece = pieces[i];
      const buffer = buffers[i % READS];
      if (!piece || !buffer) return;
      const started = readPiece(handle, buffer.subarray(0, piece.bytes), piece.offset);
      // Whoever waits for it sees the failure; until then it must not count as unhandled.
      started.catch(() => {});
      reads[i] = started;
    };
    for (let i = 0; i < READS; i++) read(i);
    let done = 0;
    for (const [i, piece] of pieces.entries()) {
      if (signal?.stopped) throw new CancelledError();
      // Copying from ordinary memory returns when the buffer may be used again.
      driver.upload(staging + BigInt(piece.to), await (reads[i] as Promise<Buffer>));
      read(i + READS);
      if (piece.last) place(tensors[piece.tensor] as Staging, staging, owners);
      done += piece.bytes;
      onProgress?.(done / total);
    }
    driver.synchronize();
  } finally {
    await handle.close();
    driver.free(staging);
  }
}

function place(tensor: Staging, staging: DevicePtr, owners: readonly WeightOwner[]): void {
  const owner = owners.find((candidate) => candidate.owns(tensor.name));
  if (!owner) throw new CudaShapeError(`nothing takes its tensor ${tensor.name}`);
  const scales = tensor.scalesAt === undefined ? 0n : staging + BigInt(tensor.scalesAt);
  owner.place({ name: tensor.name, shape: tensor.shape, data: staging, scales });
}

function plan(file: TensorPlaces): { tensors: Staging[]; pieces: Piece[]; bytes: number } {
  const tensors: Staging[] = [];
  const pieces: Piece[] = [];
  let bytes = 0;
  for (const { name, shape, kind } of tensorsOf(file.config)) {
    const data = file.offsetOf(name);
    const scales = kind === 'matrix' ? file.offsetOf(`${name}.scales`) : undefined;
    const scalesAt = scales && Math.ceil(data.bytes / ALIGN) * ALIGN;
    const index = tensors.push({ name, shape, scalesAt }) - 1;
    const cut = (from: number, size: number, to: number, last: boolean) => {
      for (let at = 0; at < size; at += PIECE_BYTES) {
        const n = Math.min(PIECE_BYTES, size - at);
        pieces.push({ offset: from + at, bytes: n, to: to + at, tensor: index, last: last && at + n === size });
      }
    };
    cut(data.offset, data.bytes, 0, !scales);
    if (scales && scalesAt !== undefined) cut(scales.offset, scales.bytes, scalesAt, true);
    bytes = Math.max(bytes, scales && scalesAt !== undefined ? scalesAt + scales.bytes : data.bytes);
  }
  return { tensors, pieces, bytes };
}

/** Fills `buffer` from `offset`. A file that ends before is an error: its size was checked when it was opened. */
async function readPiece(handle: FileHandle, buffer: Buffer, offset: number): Promise<Buffer> {
  for (let at = 0; at < buffer.length; ) {
    const { bytesRead } = await handle.read(buffer, at, buffer.length - at, offset + at);
    if (bytesRead === 0)
      throw new RangeError('The weight file became shorter while it was read. Load the model again.');
    at += bytesRead;
  }
  return buffer;
}
