/**
 * Symmetric int8 quantization in blocks of BLOCK weights along K, as layout.ts describes.
 *
 * The scale of a block is its largest magnitude / 127, rounded up to F16, so that no weight is clipped; the weights are
 * rounded to the nearest multiple of that rounded scale (halves upwards). A block of zeros has the scale 0 and stores 128.
 */
import { halfBitsUp, halfTable, MAX_HALF } from './halves';
import { BLOCK, paddedK } from './layout';

/** The stored byte of the weight 0. */
export const ZERO = 128;

/** Sums over the weights of one tensor, added to by `quantizeRows`. */
export interface QuantizationSums {
  /** Of the squares of the weights. */
  squares: number;
  /** Of the squares of (stored - original). */
  errorSquares: number;
  /** Largest |stored - original|. */
  maxError: number;
}

/** How far a tensor's int8 form lies from its original. */
export interface TensorQuantizationError {
  readonly name: string;
  /** sqrt(sum of squared errors / sum of squares). */
  readonly relativeRms: number;
  readonly maxError: number;
}

/** Why a block has no int8 form, and where. */
export class UnquantizableError extends Error {
  readonly row: number;
  readonly column: number;

  constructor(row: number, column: number, value: number) {
    super(Number.isFinite(value) ? `is too large for an F16 scale: ${value}` : `is ${value}`);
    this.row = row;
    this.column = column;
  }
}

/**
 * Quantizes some rows of a matrix.
 *
 * @param source float32 [rows, k].
 * @param bytes uint8 [rows, paddedK(k)], filled.
 * @param scales F16 bit patterns [rows, paddedK(k) / BLOCK], filled.
 * @param sums added to.
 * @throws UnquantizableError at the first weight that is not finite, or too large for a scale.
 */
export function quantizeRows(
  source: Float32Array,
  rows: number,
  k: number,
  bytes: Uint8Array,
  scales: Uint16Array,
  sums: QuantizationSums,
): void {
  const values = halfTable();
  const padded = paddedK(k);
  let { squares, errorSquares, maxError } = sums;
  let block = 0;
  for (let row = 0; row < rows; row++) {
    const rowEnd = row * k + k;
    let out = row * padded;
    for (let begin = row * k; begin < rowEnd; begin += BLOCK, block++) {
      const end = Math.min(begin + BLOCK, rowEnd);
      let largest = 0;
      let blockSquares = 0;
      for (let i = begin; i < end; i++) {
        const v = source[i]!;
        const magnitude = Math.abs(v);
        if (magnitude > largest) largest = magnitude;
        blockSquares += v * v;
      }
      // Squares of float32 cannot overflow a double: the sum is infinite or NaN only if a weight is.
      if (!(blockSquares < Number.POSITIVE_INFINITY) || largest > 127 * MAX_HALF) throw firstBad(source, begin, end, k);
      squares += blockSquares;
      const bits = halfBitsUp(largest / 127);
      scales[block] = bits;
      if (bits === 0) {
        bytes.fill(ZERO, out, out + BLOCK);
        out += BLOCK;
        continue;
      }
      const scale = values[bits]!;
      const inverse = 1 / scale;
      for (let i = begin; i < end; i++, out++) {
        const v = source[i]!;
        // At least 1.5 before the cut, so that cutting is rounding down, and the whole is rounding to nearest.
        const q = (v * inverse + (ZERO + 0.5)) | 0;
        bytes[out] = q;
        const error = Math.abs((q - ZERO) * scale - v);
        errorSquares += error * error;
        if (error > maxError) maxError = error;
      }
      for (let i = end; i < begin + BLOCK; i++, out++) bytes[out] = ZERO;
    }
  }
  sums.squares = squares;
  sums.errorSquares = errorSquares;
  sums.maxError = maxError;
}

function firstBad(source: Float32Array, begin: number, end: number, k: number): UnquantizableError {
  let i = begin;
  while (i < end - 1 && Math.abs(source[i]!) <= 127 * MAX_HALF) i++;
  return new UnquantizableError(Math.floor(i / k), i % k, source[i]!);
}

/**
 * The weights that some stored rows stand for.
 *
 * @param bytes uint8 [rows, paddedK(k)].
 * @param scales F16 bit patterns [rows, paddedK(k) / BLOCK].
 * @param target float32 [rows, k], filled.
 */
export function dequantizeRows(
  bytes: Uint8Array,
  scales: Uint16Array,
  rows: number,
  k: number,
  target: Float32Array,
): void {
  const values = halfTable();
  const padded = paddedK(k);
  let block = 0;
  for (let row = 0; row < rows; row++) {
    const rowEnd = row * k + k;
    let at = row * padded;
    for (let begin = row * k; begin < rowEnd; begin += BLOCK, block++) {
      const scale = values[scales[block]!]!;
      const end = Math.min(begin + BLOCK, rowEnd);
      for (let i = begin; i < end; i++, at++) target[i] = (bytes[at]! - ZERO) * scale;
    }
  }
}

/** The error measures of a tensor, from its sums. */
export function errorOf(name: string, sums: QuantizationSums): TensorQuantizationError {
  const relativeRms = sums.squares > 0 ? Math.sqrt(sums.errorSquares / sums.squares) : 0;
  return { name, relativeRms, maxError: sums.maxError };
}
