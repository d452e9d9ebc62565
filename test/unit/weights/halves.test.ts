import { describe, expect, it } from 'vitest';
import { bfloat16ToFloat, halfBitsUp, halfTable, halfToFloat, MAX_HALF } from '../../../server/weights/halves';
import { randomOf } from './support';

const all = Uint16Array.from({ length: 65536 }, (_, i) => i);

/** IEEE 754 binary16, from its definition, by integers and one division. */
function halfValue(bits: number): number {
  const sign = bits >>> 15 ? -1 : 1;
  const exponent = (bits >>> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return exponent ? (sign * (1024 + fraction) * 2 ** exponent) / 2 ** 25 : (sign * fraction) / 2 ** 24;
}

/** The patterns for which something does not hold. One `expect` each would take most of a minute. */
function failing(count: number, holds: (bits: number) => boolean): number[] {
  return Array.from({ length: count }, (_, i) => i).filter((i) => !holds(i));
}

describe('all 65,536 bit patterns', () => {
  it('F16 to float32', () => {
    const out = new Float32Array(65536);
    halfToFloat(all, out);
    expect(failing(65536, (bits) => Object.is(out[bits], halfValue(bits)))).toEqual([]);
  });

  it('BF16 to float32', () => {
    const out = new Float32Array(65536);
    bfloat16ToFloat(all, new Uint32Array(out.buffer));
    const view = new DataView(new ArrayBuffer(4));
    const right = (bits: number) => {
      view.setUint16(0, bits); // Big-endian: the upper half comes first.
      return Object.is(out[bits], view.getFloat32(0));
    };
    expect(failing(65536, right)).toEqual([]);
  });

  it('rounding up gives a half itself back, and the next one for anything above', () => {
    const values = halfTable();
    const right = (bits: number) => {
      const value = values[bits] ?? Number.NaN;
      return halfBitsUp(value) === bits && halfBitsUp(value * (1 + 2 ** -50) + 2 ** -80) === bits + 1;
    };
    expect(failing(0x7c00, right)).toEqual([]);
  });
});

it('rounds up to the smallest half that is not below, for random values of every size', () => {
  const values = halfTable();
  const random = randomOf(3);
  const right = () => {
    const x = random() * 2 ** (Math.floor(random() * 42) - 26);
    const bits = halfBitsUp(x);
    if (x > MAX_HALF) return bits === 0x7c00;
    return (values[bits] ?? 0) >= x && (bits === 0 || (values[bits - 1] ?? 0) < x);
  };
  expect(failing(500_000, right)).toEqual([]);
});
