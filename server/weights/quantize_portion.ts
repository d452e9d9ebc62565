/**
 * Quantizes a portion of a matrix, some whole rows as a checkpoint stores them, within one shared memory: the thread that
 * reads and writes files puts the rows there and takes the result from there, whichever thread computes.
 */
import { bfloat16ToFloat, halfToFloat } from './halves';
import { BLOCK, paddedK } from './layout';
import { firstUnquantizable, type QuantizationSums, quantizeRows, UnquantizableError } from './quantize';
import { type Kernels, kernelsOver } from './quantize_kernels';
import { DTYPE_BYTES } from './tensorfile';
import type { WasmMemory } from './wasm';

/** The types that weights are read from. */
export type FloatType = 'F64' | 'F32' | 'F16' | 'BF16';

export interface Portion {
  readonly rows: number;
  readonly k: number;
  readonly dtype: FloatType;
  /** What the weights are multiplied by first (in float64, then rounded to float32). */
  readonly factor: number;
}

/** Where things are in the memory of a portion, in bytes. */
export interface PortionPlaces {
  /** `dtype` [rows, k]. */
  readonly source: number;
  /** uint8 [rows, paddedK(k)]. */
  readonly weights: number;
  /** F16 bit patterns [rows, paddedK(k) / BLOCK]. */
  readonly scales: number;
  /** One row as float32 [paddedK(k)]. */
  readonly scratch: number;
  /** All that is needed. */
  readonly bytes: number;
}

/** The sums, three float64, are at the start. */
const SUMS_BYTES = 64;
/** What the kernels may read and write behind the end of a row. */
const SLACK_BYTES = 64;

export function placesOf({ rows, k, dtype }: Omit<Portion, 'factor'>): PortionPlaces {
  const padded = paddedK(k);
  let at = SUMS_BYTES;
  const place = (bytes: number): number => {
    const here = at;
    at = Math.ceil((at + bytes + SLACK_BYTES) / 64) * 64;
    return here;
  };
  const scratch = place(padded * 4);
  const source = place(rows * k * DTYPE_BYTES[dtype]);
  const weights = place(rows * padded);
  const scales = place(rows * (padded / BLOCK) * 2);
  return { source, weights, scales, scratch, bytes: at };
}

export class PortionQuantizer {
  readonly #buffer: ArrayBufferLike;
  readonly #kernels: Kernels | undefined;

  /** `kernels`: false keeps to plain JavaScript, which gives the same bytes; a seam for tests. */
  constructor(memory: WasmMemory, kernels = true) {
    this.#buffer = memory.buffer;
    this.#kernels = kernels ? kernelsOver(memory) : undefined;
  }

  /**
   * Quantizes the rows that are in the memory.
   *
   * @throws UnquantizableError at the first weight that is not finite, or too large for a scale.
   */
  quantize(portion: Portion): QuantizationSums {
    const { rows, k, dtype, factor } = portion;
    const places = placesOf(portion);
    if (places.bytes > this.#buffer.byteLength) throw new RangeError('the portion does not fit into its memory');
    const padded = paddedK(k);
    const blocks = padded / BLOCK;
    const sums = new Float64Array(this.#buffer, 0, 3).fill(0);
    const scratch = new Float32Array(this.#buffer, places.scratch, padded);
    // What the blocks are padded with; the kernels that widen a row write over its start.
    for (let row = 0; row < rows; row++) {
      const source = places.source + row * k * DTYPE_BYTES[dtype];
      this.#widen(source, places.scratch, k, dtype);
      if (factor !== 1) for (let i = 0; i < k; i++) scratch[i] = (scratch[i] ?? 0) * factor;
      scratch.fill(0, k);
      const [weights, scales] = [places.weights + row * padded, places.scales + row * blocks * 2];
      this.#row(row, k, scratch, weights, scales, sums);
    }
    const [squares = 0, errorSquares = 0, maxError = 0] = sums;
    return { squares, errorSquares, maxError };
  }

  #row(row: number, k: number, scratch: Float32Array, weights: number, scales: number, sums: Float64Array): void {
    const blocks = scratch.length / BLOCK;
    if (this.#kernels) {
      const done = this.#kernels.quantize(scratch.byteOffset, blocks, weights, scales, 0);
      if (done === blocks) return;
      const { column, value } = firstUnquantizable(scratch, done * BLOCK, Math.min(k, (done + 1) * BLOCK), k);
      throw new UnquantizableError(row, column, value);
    }
    const bytes = new Uint8Array(this.#buffer, weights, scratch.length);
    const scaleBits = new Uint16Array(this.#buffer, scales, blocks);
    const [squares = 0, errorSquares = 0, maxError = 0] = sums;
    const added = { squares, errorSquares, maxError };
    try {
      quantizeRows(scratch.subarray(0, k), 1, k, bytes, scaleBits, added);
    } catch (error) {
      if (!(error instanceof UnquantizableError)) throw error;
      throw new UnquantizableError(row, error.column, error.value);
    }
    sums.set([added.squares, added.errorSquares, added.maxError]);
  }

  /** One row at `source` into float32 at `target`. */
  #widen(source: number, target: number, k: number, dtype: FloatType): void {
    const buffer = this.#buffer;
    switch (dtype) {
      case 'BF16':
        if (this.#kernels) this.#kernels.widenBfloat16(source, target, k);
        else bfloat16ToFloat(new Uint16Array(buffer, source, k), new Uint32Array(buffer, target, k));
        return;
      case 'F16':
        if (this.#kernels) this.#kernels.widenHalf(source, target, k);
        else halfToFloat(new Uint16Array(buffer, source, k), new Float32Array(buffer, target, k));
        return;
      case 'F32':
        new Uint8Array(buffer, target, 4 * k).set(new Uint8Array(buffer, source, 4 * k));
        return;
      case 'F64':
        new Float32Array(buffer, target, k).set(new Float64Array(buffer, source, k));
    }
  }
}
