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

/** Sums over some weights, added to by `quantizeRows`. */
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
  readonly value: number;

  constructor(row: number, column: number, value: number) {
    super(Number.isFinite(value) ? `is too large for an F16 scale: ${value}` : `is ${value}`);
    this.row = row;
    this.column = column;
    this.value = value;
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
  const lanes = new Float64Array(8);
  // Of finite floats, the order of magnitudes is the order of their bits without the sign; of the rest, they are above.
  const sourceBits = new Int32Array(source.buffer, source.byteOffset, source.length);
  let { squares, errorSquares, maxError } = sums;
  let block = 0;
  for (let row = 0; row < rows; row++) {
    const rowEnd = row * k + k;
    let out = row * padded;
    for (let begin = row * k; begin < rowEnd; begin += BLOCK, block++) {
      const end = Math.min(begin + BLOCK, rowEnd);
      let largestBits = 0;
      for (let i = begin; i < end; i++) {
        const bits = sourceBits[i]! & 0x7fffffff;
        if (bits > largestBits) largestBits = bits;
      }
      floatBits[0] = largestBits;
      const largest = float[0]!;
      if (!(largest <= 127 * MAX_HALF)) throw firstUnquantizable(source, begin, end, k);
      const scaleBits = halfBitsUp(largest / 127);
      scales[block] = scaleBits;
      if (scaleBits === 0) {
        bytes.fill(ZERO, out, out + BLOCK);
        out += BLOCK;
        continue;
      }
      const scale = values[scaleBits]!;
      const inverse = 1 / scale;
      // Sums in four lanes, then the lanes, then block by block: the order in which quantize_kernels.ts adds. One sum would
      // also make every addition wait for the one before.
      lanes.fill(0);
      for (let i = begin; i < end; i++) {
        const lane = (i - begin) & 3;
        const v = source[i]!;
        // At least 1.5 before the cut, so that cutting is rounding down, and the whole is rounding to nearest.
        const q = (v * inverse + (ZERO + 0.5)) | 0;
        bytes[out++] = q;
        const error = (q - ZERO) * scale - v;
        lanes[lane]! += v * v;
        lanes[4 + lane]! += error * error;
        if (error > maxError) maxError = error;
        else if (-error > maxError) maxError = -error;
      }
      squares += lanes[0]! + lanes[2]! + (lanes[1]! + lanes[3]!);
      errorSquares += lanes[4]! + lanes[6]! + (lanes[5]! + lanes[7]!);
      const blockEnd = row * padded + (begin - row * k) + BLOCK;
      while (out < blockEnd) bytes[out++] = ZERO;
    }
  }
  sums.squares = squares;
  sums.errorSquares = errorSquares;
  sums.maxError = maxError;
}

const float = new Float32Array(1);
const floatBits = new Int32Array(float.buffer);

/** The first weight from `begin` to `end` that has no int8 form. */
export function firstUnquantizable(source: Float32Array, begin: number, end: number, k: number): UnquantizableError {
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
