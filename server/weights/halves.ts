/**
 * Half-precision numbers: IEEE binary16 (F16) and bfloat16 (BF16). Little-endian hosts only, as everywhere in this folder:
 * safetensors data is little-endian and is viewed in place.
 */

let table: Float32Array | undefined;

/** The value of every one of the 65,536 bit patterns of F16, float32 [65536]: 256 kB, made on first use. */
export function halfTable(): Float32Array {
  if (table) return table;
  const values = new Float32Array(65536);
  for (let bits = 0; bits < 65536; bits++) {
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 31;
    const fraction = bits & 1023;
    if (exponent === 31) values[bits] = fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
    else if (exponent === 0) values[bits] = sign * fraction * 2 ** -24;
    else values[bits] = sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
  }
  table = values;
  return values;
}

/** F16 bit patterns into float32 values, element by element; exact. */
export function halfToFloat(source: Uint16Array, target: Float32Array): void {
  const values = halfTable();
  for (let i = 0; i < source.length; i++) target[i] = values[source[i]!]!;
}

/** BF16 bit patterns into float32 bit patterns (a view of the target's bytes), element by element; exact. */
export function bfloat16ToFloat(source: Uint16Array, target: Uint32Array): void {
  for (let i = 0; i < source.length; i++) target[i] = source[i]! << 16;
}

/** The largest finite F16. */
export const MAX_HALF = 65504;

const scratch = new Float32Array(1);
const scratchBits = new Uint32Array(scratch.buffer);

/**
 * The smallest F16 that is not below `x`, as its bit pattern. Above MAX_HALF: infinity (0x7c00).
 *
 * @param x zero or positive, finite.
 */
export function halfBitsUp(x: number): number {
  if (x > MAX_HALF) return 0x7c00;
  // Below the smallest normal F16, values are multiples of 2 ** -24 (and 1024 of them are that smallest normal).
  if (x < 2 ** -14) return Math.ceil(x * 2 ** 24);
  scratch[0] = x;
  let bits = scratchBits[0]!;
  if (scratch[0] < x) bits += 1;
  // Cutting 13 fraction bits off rounds down; adding them all before rounds up, with the carry into the exponent.
  return ((bits + 0x1fff) >>> 13) - ((127 - 15) << 10);
}
