import { describe, expect, it } from 'vitest';
import { argmax, logSumExp, NotFiniteError, pickFrom, sample, top } from '../../../server/engine/pick';

/** Values as a model gives them, the same at every run. */
function logitsOf(length: number, seed = 1): Float32Array {
  let state = seed;
  return Float32Array.from({ length }, () => {
    state = (state * 1103515245 + 12345) % 2 ** 31;
    return (state / 2 ** 31 - 0.5) * 30;
  });
}

/** Ids that `sample` gives for draws spread evenly over [0, 1), and how often. */
function histogram(
  logits: Float32Array,
  temperature: number,
  topK: number,
  topP: number,
  draws = 20_000,
): Map<number, number> {
  const counts = new Map<number, number>();
  for (let i = 0; i < draws; i++) {
    const id = sample(logits, temperature, topK, topP, (i + 0.5) / draws);
    counts.set(id, (counts.get(id) ?? 0) + 1 / draws);
  }
  return counts;
}

describe('log-sum-exp', () => {
  it('equals the sum with Math.exp', () => {
    for (const seed of [1, 2, 3]) {
      const logits = logitsOf(32_128, seed);
      const exact = Math.log(logits.reduce((sum, logit) => sum + Math.exp(logit), 0));
      expect(logSumExp(logits)).toBeCloseTo(exact, 11);
    }
  });

  it('survives values whose exp overflows, and ignores what cannot count', () => {
    expect(logSumExp(Float32Array.of(1000, 1000))).toBeCloseTo(1000 + Math.log(2), 9);
    expect(logSumExp(Float32Array.of(5, -1e30, Number.NEGATIVE_INFINITY))).toBe(5);
  });

  it('refuses values that are no numbers', () => {
    expect(() => logSumExp(Float32Array.of(1, Number.NaN, 2))).toThrow(NotFiniteError);
    expect(() => logSumExp(Float32Array.of(1, Number.POSITIVE_INFINITY))).toThrow(NotFiniteError);
    expect(() => logSumExp(new Float32Array(4).fill(Number.NEGATIVE_INFINITY))).toThrow(NotFiniteError);
  });
});

describe('argmax and top', () => {
  it('takes the lower id of equal values', () => {
    expect(argmax(Float32Array.of(1, 3, 3, 2))).toBe(1);
    expect([...top(Float32Array.of(2, 3, 3, 2, 2), 4)]).toEqual([1, 2, 0, 3]);
  });

  it('orders as a stable sort of all values does', () => {
    const logits = logitsOf(500).map((value) => Math.round(value));
    const sorted = Array.from(logits.keys()).sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
    for (const count of [1, 8, 100, 500]) expect([...top(logits, count)]).toEqual(sorted.slice(0, count));
  });
});

describe('sampling', () => {
  const logits = Float32Array.of(Math.log(0.4), Math.log(0.3), Math.log(0.2), Math.log(0.1));

  it('draws each id as often as its probability says', () => {
    const counts = histogram(logits, 1, 0, 1);
    for (const [id, p] of [0.4, 0.3, 0.2, 0.1].entries()) expect(counts.get(id)).toBeCloseTo(p, 3);
  });

  it('applies the temperature before the filters', () => {
    // At temperature 0.5 the probabilities are 16, 9, 4 and 1 of 30: the first two reach 0.8.
    const counts = histogram(logits, 0.5, 0, 0.8);
    expect([...counts.keys()].sort()).toEqual([0, 1]);
    expect(counts.get(0)).toBeCloseTo(16 / 25, 3);
  });

  it('keeps the topK largest, and those that equal the last of them', () => {
    expect([...histogram(logits, 1, 2, 1).keys()]).toEqual([0, 1]);
    expect([...histogram(Float32Array.of(1, 2, 1, 0), 1, 2, 1).keys()]).toEqual([0, 1, 2]);
  });

  it('counts top-p among what top-k left', () => {
    // Of 4/7 and 3/7 the first reaches 0.55 alone; of all four it would not.
    expect([...histogram(logits, 1, 2, 0.55).keys()]).toEqual([0]);
    expect([...histogram(logits, 1, 0, 0.55).keys()]).toEqual([0, 1]);
  });

  it('keeps the smallest set that reaches top-p, at least one id', () => {
    expect([...histogram(logits, 1, 0, 1e-6).keys()]).toEqual([0]);
    expect([...histogram(logits, 1, 0, 0.85).keys()]).toEqual([0, 1, 2]);
    const flat = new Float32Array(1000);
    expect(histogram(flat, 1, 0, 0.25, 1000).size).toBe(250);
  });

  it('gives the best id at a low temperature, and the last possible at the end of the draw', () => {
    expect(sample(logitsOf(1000), 1e-3, 0, 1, 0.7)).toBe(argmax(logitsOf(1000)));
    expect(sample(logits, 1, 0, 1, 1 - 2 ** -53)).toBe(3);
    expect(() => sample(logits, 0, 0, 1, 0.5)).toThrow(RangeError);
  });
});

describe('pickFrom', () => {
  const vocabSize = 300;
  const logits = logitsOf(3 * vocabSize);
  const rows = [0, 1, 2].map((i) => logits.subarray(i * vocabSize, (i + 1) * vocabSize));
  const logprob = (row: number, id: number) => Math.fround((rows[row]?.[id] ?? 0) - logSumExp(rows[row] ?? logits));

  it('gives log-probabilities of the unmodified logits, whatever was used to choose', () => {
    const uniforms = Float64Array.of(0.1, 0.5, 0.9);
    const sampled = pickFrom(logits, vocabSize, { kind: 'sample', temperature: 3, topK: 5, topP: 0.9, uniforms });
    expect(sampled.ids).toHaveLength(3);
    for (const [row, id] of sampled.ids.entries()) expect(sampled.logprobs[row]).toBe(logprob(row, id));
    const best = pickFrom(logits, vocabSize, { kind: 'argmax' });
    for (const [row, id] of best.ids.entries()) expect(best.logprobs[row]).toBe(logprob(row, id));
  });

  it('gives the best of every position, and scores of targets', () => {
    const { ids, logprobs } = pickFrom(logits, vocabSize, { kind: 'top', count: 4 });
    for (const [row, values] of rows.entries()) {
      const best = [...top(values, 4)];
      expect([...ids.subarray(row * 4, row * 4 + 4)]).toEqual(best);
      expect([...logprobs.subarray(row * 4, row * 4 + 4)]).toEqual(best.map((id) => logprob(row, id)));
    }
    const scored = pickFrom(logits, vocabSize, { kind: 'score', targets: Int32Array.of(7, 0, 299) });
    expect(scored.ids).toHaveLength(0);
    expect([...scored.logprobs]).toEqual([logprob(0, 7), logprob(1, 0), logprob(2, 299)]);
  });

  it('refuses counts that do not fit', () => {
    expect(() => pickFrom(logits, 301, { kind: 'argmax' })).toThrow(RangeError);
    expect(() => pickFrom(logits, vocabSize, { kind: 'score', targets: Int32Array.of(1) })).toThrow(RangeError);
    expect(() => pickFrom(logits, vocabSize, { kind: 'score', targets: Int32Array.of(1, 2, 300) })).toThrow(RangeError);
    const short = { kind: 'sample', temperature: 1, topK: 0, topP: 1, uniforms: Float64Array.of(0.5) } as const;
    expect(() => pickFrom(logits, vocabSize, short)).toThrow(RangeError);
  });
});
