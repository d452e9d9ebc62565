import { describe, expect, it } from 'vitest';
import { halfTable } from '../../../server/weights/halves';
import { BLOCK, paddedK } from '../../../server/weights/layout';
import { dequantizeRows, errorOf, quantizeRows, UnquantizableError, ZERO } from '../../../server/weights/quantize';
import { randomOf } from './support';

function quantize(source: Float32Array, rows: number, k: number) {
  const padded = paddedK(k);
  const bytes = new Uint8Array(rows * padded).fill(77);
  const scales = new Uint16Array((rows * padded) / BLOCK).fill(0xffff);
  const sums = { squares: 0, errorSquares: 0, maxError: 0 };
  quantizeRows(source, rows, k, bytes, scales, sums);
  const back = new Float32Array(source.length);
  dequantizeRows(bytes, scales, rows, k, back);
  return { bytes, scales, sums, back, padded };
}

describe.each([1, 2, 64, 127, 128, 129, 384, 500])('K = %i', (k) => {
  const rows = 5;
  const random = randomOf(k);
  // Blocks of very different sizes, as outliers make them.
  const source = Float32Array.from({ length: rows * k }, () => (random() - 0.5) * 2 ** (random() * 30 - 20));
  const { bytes, scales, sums, back, padded } = quantize(source, rows, k);

  it('clips nothing and errs by half a scale at most', () => {
    for (let i = 0; i < source.length; i++) {
      const row = Math.floor(i / k);
      const column = i % k;
      const scale = halfTable()[scales[(row * padded + (column - (column % BLOCK))) / BLOCK] ?? 0] ?? Number.NaN;
      const q = (bytes[row * padded + column] ?? 0) - ZERO;
      expect(Math.abs(q)).toBeLessThanOrEqual(127);
      expect(back[i]).toBe(Math.fround(q * scale));
      expect(Math.abs(q * scale - (source[i] ?? 0))).toBeLessThanOrEqual((scale / 2) * (1 + 2 ** -40));
    }
  });

  it('scales every block by the smallest half that reaches its largest weight', () => {
    for (let row = 0; row < rows; row++) {
      for (let begin = 0; begin < k; begin += BLOCK) {
        const block = source.subarray(row * k + begin, row * k + Math.min(begin + BLOCK, k));
        const largest = block.reduce((most, v) => Math.max(most, Math.abs(v)), 0);
        const bits = scales[(row * padded + begin) / BLOCK] ?? 0;
        expect((halfTable()[bits] ?? 0) * 127).toBeGreaterThanOrEqual(largest);
        expect((halfTable()[bits - 1] ?? 0) * 127).toBeLessThan(largest);
      }
    }
  });

  it('pads with zeros', () => {
    for (let row = 0; row < rows; row++) {
      expect(bytes.subarray(row * padded + k, (row + 1) * padded).every((b) => b === ZERO)).toBe(true);
    }
  });

  it('measures its errors', () => {
    let squares = 0;
    let errorSquares = 0;
    let maxError = 0;
    for (let i = 0; i < source.length; i++) {
      const row = Math.floor(i / k);
      const column = i % k;
      const scale = halfTable()[scales[(row * padded + (column - (column % BLOCK))) / BLOCK] ?? 0] ?? 0;
      const error = ((bytes[row * padded + column] ?? 0) - ZERO) * scale - (source[i] ?? 0);
      squares += (source[i] ?? 0) ** 2;
      errorSquares += error ** 2;
      maxError = Math.max(maxError, Math.abs(error));
    }
    const { relativeRms, maxError: measured } = errorOf('w', sums);
    expect(relativeRms / Math.sqrt(errorSquares / squares)).toBeCloseTo(1, 9);
    expect(measured).toBe(maxError);
  });
});

it('quantizes what it dequantized to the same bytes', () => {
  const random = randomOf(9);
  // The largest weight is 127 steps of a half, as after a first quantization.
  const source = Float32Array.from(
    { length: 256 },
    (_, i) => (i % BLOCK === 0 ? 127 : Math.floor(random() * 255) - 127) / 64,
  );
  const first = quantize(source, 2, 128);
  const second = quantize(first.back, 2, 128);
  expect(first.back).toEqual(source);
  expect(second.bytes).toEqual(first.bytes);
  expect(second.scales).toEqual(first.scales);
});

it('stores a block of zeros as zeros, and weights below the smallest half as multiples of it', () => {
  const zeros = quantize(new Float32Array(130), 1, 130);
  expect([...zeros.scales]).toEqual([0, 0]);
  expect(zeros.bytes.every((b) => b === ZERO)).toBe(true);
  expect(errorOf('w', zeros.sums)).toEqual({ name: 'w', relativeRms: 0, maxError: 0 });
  const tiny = quantize(Float32Array.of(1e-40, -1e-9, 2e-8), 1, 3);
  expect([...tiny.scales]).toEqual([1]);
  expect([...tiny.bytes.subarray(0, 3)]).toEqual([ZERO, ZERO, ZERO]);
});

it('rounds halves upwards', () => {
  const { bytes } = quantize(Float32Array.of(127, 0.5, -0.5, 1.5, -1.5), 1, 5);
  expect([...bytes.subarray(0, 5)]).toEqual([255, 129, 128, 130, 127]);
});

it.each([
  [Number.NaN, 'is NaN'],
  [Number.POSITIVE_INFINITY, 'is Infinity'],
  [Number.NEGATIVE_INFINITY, 'is -Infinity'],
  [-8.4e6, 'is too large'],
])('refuses %d and says where it is', (value, message) => {
  const source = new Float32Array(3 * 200).fill(0.25);
  source[200 + 150] = value;
  let error: unknown;
  try {
    quantize(source, 3, 200);
  } catch (caught) {
    error = caught;
  }
  expect(error).toBeInstanceOf(UnquantizableError);
  expect(error).toMatchObject({ row: 1, column: 150 });
  expect((error as Error).message).toContain(message);
});

it('takes the largest weight that an F16 scale can hold', () => {
  const largest = 127 * 65504;
  const { bytes, back } = quantize(Float32Array.of(largest, -largest, 0), 1, 3);
  expect([...bytes.subarray(0, 3)]).toEqual([255, 1, 128]);
  expect([...back]).toEqual([largest, -largest, 0]);
});
