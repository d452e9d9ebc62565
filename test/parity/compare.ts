/** Measures of agreement between computed and recorded values. */
import type { Greedy } from './recorded';

/** Largest absolute difference over the largest recorded value. */
export function relativeError(actual: Float32Array, expected: Float32Array): number {
  if (actual.length !== expected.length)
    throw new Error(`${actual.length} values against ${expected.length} recorded.`);
  let largest = 0;
  let difference = 0;
  for (let i = 0; i < expected.length; i++) {
    largest = Math.max(largest, Math.abs(expected[i] as number));
    const d = Math.abs((actual[i] as number) - (expected[i] as number));
    // NaN must not pass for a small difference.
    difference = Number.isNaN(d) ? Number.POSITIVE_INFINITY : Math.max(difference, d);
  }
  return difference / largest;
}

export function cosine(a: Float32Array, b: Float32Array): number {
  let ab = 0;
  let aa = 0;
  let bb = 0;
  for (let i = 0; i < a.length; i++) {
    const x = a[i] as number;
    const y = b[i] as number;
    ab += x * y;
    aa += x * x;
    bb += y * y;
  }
  return ab / Math.sqrt(aa * bb);
}

/** Where two answers part, and the gap recorded there; undefined when they are equal. */
export function parting(actual: readonly number[], recorded: Greedy): { at: number; gap: number } | undefined {
  const length = Math.max(actual.length, recorded.ids.length);
  for (let at = 0; at < length; at++) {
    if (actual[at] !== recorded.ids[at]) return { at, gap: recorded.gaps[at] ?? 0 };
  }
  return undefined;
}
