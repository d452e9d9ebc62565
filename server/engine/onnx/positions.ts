/** T5's relative position buckets, as tables of bucket numbers that the graphs look the biases up by. */

/**
 * The bucket of `key - query`, as transformers computes it, in float32: half of the buckets (or all, in a causal
 * decoder) for exact distances, the rest logarithmic up to `maxDistance`, the last for everything beyond.
 */
export function relativeBucket(relative: number, bidirectional: boolean, buckets: number, maxDistance: number): number {
  let base = 0;
  let distance: number;
  if (bidirectional) {
    buckets = Math.floor(buckets / 2);
    if (relative > 0) base = buckets;
    distance = Math.abs(relative);
  } else {
    distance = Math.max(-relative, 0);
  }
  const exact = Math.floor(buckets / 2);
  if (distance < exact) return base + distance;
  const log = Math.fround(Math.log(Math.fround(distance / exact)));
  const share = Math.fround(log / Math.fround(Math.log(maxDistance / exact)));
  const far = exact + Math.floor(Math.fround(share * (buckets - exact)));
  return base + Math.min(far, buckets - 1);
}

export interface Positions {
  readonly relativeBuckets: number;
  readonly relativeMaxDistance: number;
}

/** Buckets int32 [length, length] for an encoder: every token sees every token. */
export function encoderBuckets(length: number, config: Positions): Int32Array {
  const { relativeBuckets, relativeMaxDistance } = config;
  // By distance first: entry i of the line is the bucket of relative position i - (length - 1).
  const line = Int32Array.from({ length: Math.max(2 * length - 1, 0) }, (_, i) =>
    relativeBucket(i - (length - 1), true, relativeBuckets, relativeMaxDistance),
  );
  const table = new Int32Array(length * length);
  for (let query = 0; query < length; query++) {
    const first = length - 1 - query;
    table.set(line.subarray(first, first + length), query * length);
  }
  return table;
}

/**
 * Buckets int32 [count, past + count] for `count` new tokens of a decoder after `past` old ones. A key later than its
 * query gets the number `relativeBuckets`, which the graph reads as masked.
 */
export function decoderBuckets(past: number, count: number, config: Positions): Int32Array {
  const { relativeBuckets, relativeMaxDistance } = config;
  const total = past + count;
  const line = Int32Array.from({ length: total }, (_, distance) =>
    relativeBucket(-distance, false, relativeBuckets, relativeMaxDistance),
  );
  const table = new Int32Array(count * total).fill(relativeBuckets);
  for (let i = 0; i < count; i++) {
    const query = past + i;
    for (let key = 0; key <= query; key++) table[i * total + key] = line[query - key] ?? 0;
  }
  return table;
}
