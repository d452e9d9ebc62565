import { expect, it } from 'vitest';
import { splitmix64, uniform } from '../../../server/generate/random';

it('is SplitMix64: the published outputs of seed 1234567', () => {
  expect([0, 1, 2, 3, 4].map((n) => splitmix64(1234567n, n))).toEqual([
    6457827717110365317n,
    3203168211198807973n,
    9817491932198370423n,
    4593380528125082431n,
    16408922859458223821n,
  ]);
});

it('draws uniforms in [0, 1), spread evenly', () => {
  const buckets = new Array<number>(10).fill(0);
  for (let n = 0; n < 10_000; n++) {
    const u = uniform(7, n);
    expect(u >= 0 && u < 1).toBe(true);
    buckets[Math.floor(u * 10)] = (buckets[Math.floor(u * 10)] ?? 0) + 1;
  }
  for (const count of buckets) expect(Math.abs(count - 1000)).toBeLessThan(120);
});

it('takes every safe integer as a seed', () => {
  expect(uniform(Number.MAX_SAFE_INTEGER, 0)).not.toBe(uniform(0, 0));
});
