import { describe, expect, it } from 'vitest';
import { UsageError } from '../../../server/errors';
import { type ResolvedDecoding, resolveDecoding } from '../../../server/generate/decoding';
import { type GenerateOptions, generate } from '../../../server/generate/generate';
import { scoreAnswer } from '../../../server/generate/score';
import { bestOfAll, greedyByDefinition, maskedBeamSearch } from './reference';
import { EOS, hashTable, logSoftmax, START, TableEngine } from './table-engine';

const VOCAB = 12;
const greedy = (maxNewTokens: number): ResolvedDecoding => ({ kind: 'greedy', maxNewTokens });
const beam = (beams: number, maxNewTokens: number): ResolvedDecoding => ({ kind: 'beam', beams, maxNewTokens });
const prompts = (count: number) => Array.from({ length: count }, (_, i) => [2 + (i % 9), 3 + (i % 7), i + 2, EOS]);

async function run(engine: TableEngine, prompt: number[], decoding: ResolvedDecoding, options: GenerateOptions = {}) {
  const result = await generate(engine, prompt, decoding, options);
  expect(engine.open, 'memories and decoders left open').toBe(0);
  return result;
}

describe('greedy', () => {
  it('takes the most probable token until the end token or the limit, with the log-probability of all', async () => {
    const table = hashTable(VOCAB, 0.5);
    const reasons = new Set<string>();
    for (const prompt of prompts(60)) {
      const engine = new TableEngine(VOCAB, table);
      const seen: number[] = [];
      const result = await run(engine, prompt, greedy(7), { onTokens: (ids) => seen.push(...ids) });
      const expected = greedyByDefinition(table, prompt, 7);
      expect(result.ids).toEqual(expected.ids);
      expect(result.logprob).toBeCloseTo(expected.logprob, 4);
      expect(result.finishReason).toBe(expected.ids.at(-1) === EOS ? 'stop' : 'length');
      expect(seen).toEqual(result.ids);
      expect(result.steps).toBe(result.ids.length);
      reasons.add(result.finishReason);
    }
    expect(reasons).toEqual(new Set(['stop', 'length']));
  });

  it('says stop when the end token is the last one allowed', async () => {
    const table = hashTable(VOCAB, 100);
    const result = await run(new TableEngine(VOCAB, table), [5, EOS], greedy(1));
    expect(result).toMatchObject({ ids: [EOS], finishReason: 'stop' });
  });

  it('measures time to the first token from the start of encoding', async () => {
    const result = await run(new TableEngine(VOCAB, hashTable(VOCAB, -9)), [5, EOS], greedy(5));
    const { encodeMs, firstTokenMs, msPerToken } = result.timings;
    expect(firstTokenMs).toBeGreaterThan(encodeMs);
    expect(msPerToken).toBeGreaterThan(0);
  });
});

describe('stopping', () => {
  const table = hashTable(VOCAB, -9);

  it('returns nothing when stopped before or during encoding', async () => {
    const engine = new TableEngine(VOCAB, table);
    expect(await run(engine, [5, EOS], greedy(9), { signal: { stopped: true } })).toMatchObject({
      ids: [],
      finishReason: 'cancelled',
    });
    expect(engine.prompts).toEqual([]);
    const signal = { stopped: false };
    engine.onEncode = () => {
      signal.stopped = true;
    };
    expect(await run(engine, [5, EOS], greedy(9), { signal })).toMatchObject({ ids: [], finishReason: 'cancelled' });
    expect(engine.steps).toBe(0);
  });

  for (const [name, decoding, options] of [
    ['greedy', greedy(9), {}],
    ['speculation', greedy(9), { draft: 4 }],
    ['sampling', { kind: 'sample', maxNewTokens: 9, temperature: 1, topK: 0, topP: 1, seed: 1 }, {}],
  ] as const) {
    it(`${name} keeps the tokens so far and runs no further step`, async () => {
      const signal = { stopped: false };
      const engine = new TableEngine(VOCAB, table);
      engine.onStep = (step) => {
        signal.stopped = step === 2;
      };
      const result = await run(engine, [5, EOS], decoding, { ...options, signal });
      expect(result.finishReason).toBe('cancelled');
      expect(engine.steps).toBe(3);
      expect(result.ids.length).toBeGreaterThanOrEqual(3);
      if (name !== 'sampling')
        expect(result.ids).toEqual(greedyByDefinition(table, [5, EOS], 9).ids.slice(0, result.ids.length));
    });
  }

  it('beams keep the best running answer', async () => {
    const signal = { stopped: false };
    const engine = new TableEngine(VOCAB, table);
    engine.onStep = (step) => {
      signal.stopped = step === 2;
    };
    const result = await run(engine, [5, EOS], beam(3, 9), { signal });
    expect(result.finishReason).toBe('cancelled');
    expect(result.ids).toHaveLength(3);
  });

  it('a guard ends the answer after the token it was shown', async () => {
    const result = await run(new TableEngine(VOCAB, table), [5, EOS], greedy(9), { guard: (ids) => ids.length === 4 });
    expect(result.finishReason).toBe('guard');
    expect(result.ids).toEqual(greedyByDefinition(table, [5, EOS], 9).ids.slice(0, 4));
  });

  it('frees everything when a step fails', async () => {
    const engine = new TableEngine(VOCAB, table);
    engine.onStep = (step) => {
      if (step === 2) throw new Error('device lost');
    };
    await expect(generate(engine, [5, EOS], greedy(9))).rejects.toThrow('device lost');
    await expect(generate(engine, [5, EOS], beam(2, 9))).resolves.toBeDefined();
    expect(engine.open).toBe(0);
  });
});

describe('sampling', () => {
  const sampling = (seed: number, more = {}): ResolvedDecoding => ({
    kind: 'sample',
    maxNewTokens: 12,
    temperature: 1,
    topK: 0,
    topP: 1,
    seed,
    ...more,
  });
  const table = hashTable(VOCAB, -1);

  it('gives the same answer for the same seed, and others for others', async () => {
    const answers = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const a = await run(new TableEngine(VOCAB, table), [4, EOS], sampling(seed));
      const b = await run(new TableEngine(VOCAB, table), [4, EOS], sampling(seed));
      expect(b).toMatchObject({ ids: a.ids, logprob: a.logprob });
      answers.add(a.ids.join());
    }
    expect(answers.size).toBeGreaterThan(15);
  });

  it('is greedy with top-k 1', async () => {
    const result = await run(new TableEngine(VOCAB, table), [4, EOS], sampling(3, { topK: 1 }));
    expect(result.ids).toEqual(greedyByDefinition(table, [4, EOS], 12).ids);
  });

  it('draws first tokens as often as the model says', async () => {
    const probabilities = logSoftmax(table([4, EOS], [START])).map(Math.exp);
    const counts = new Array<number>(VOCAB).fill(0);
    const draws = 4000;
    for (let seed = 0; seed < draws; seed++) {
      const { ids } = await generate(new TableEngine(VOCAB, table), [4, EOS], { ...sampling(seed), maxNewTokens: 1 });
      counts[ids[0] ?? 0] = (counts[ids[0] ?? 0] ?? 0) + 1;
    }
    let chiSquare = 0;
    for (const [id, p] of probabilities.entries())
      if (p > 1e-6) chiSquare += ((counts[id] ?? 0) - draws * p) ** 2 / (draws * p);
    // 10 degrees of freedom: above 29.6 once in a thousand times; the seeds are fixed, so this does not vary.
    expect(chiSquare).toBeLessThan(29.6);
  });
});

describe('beam search', () => {
  it('finds the best of all answers where the beams hold every prefix', async () => {
    for (const prompt of prompts(25)) {
      const table = hashTable(4, 0.3);
      const result = await run(new TableEngine(4, table), prompt, beam(64, 3));
      const best = bestOfAll(table, prompt, 4, 3);
      expect(result.ids).toEqual(best.ids);
      expect(result.logprob).toBeCloseTo(best.logprob, 4);
    }
  });

  it('equals the masked formulation for many vocabularies, widths and lengths', async () => {
    let different = 0;
    for (const [i, prompt] of prompts(240).entries()) {
      const vocab = 12 + (i % 17);
      const beams = 2 + (i % 4);
      const limit = 1 + (i % 11);
      const table = hashTable(vocab, (i % 5) - 1, 2 + (i % 3));
      const result = await run(new TableEngine(vocab, table), prompt, beam(beams, limit));
      const expected = maskedBeamSearch(table, prompt, beams, limit);
      expect(result.ids, `prompt ${i}: ${beams} beams, ${limit} tokens`).toEqual(expected.ids);
      expect(result.finishReason).toBe(expected.ids.at(-1) === EOS ? 'stop' : 'length');
      if (expected.ids.join() !== greedyByDefinition(table, prompt, limit).ids.join()) different++;
    }
    expect(different, 'cases in which beams matter').toBeGreaterThan(60);
  });

  it('reports the answer once, at the end', async () => {
    const calls: number[][] = [];
    const result = await run(new TableEngine(VOCAB, hashTable(VOCAB)), [4, EOS], beam(3, 8), {
      onTokens: (ids) => calls.push([...ids]),
    });
    expect(calls).toEqual([result.ids]);
  });
});

describe('scoring', () => {
  it('gives every token its log-probability in one step', async () => {
    const table = hashTable(VOCAB);
    const engine = new TableEngine(VOCAB, table);
    const answer = [5, 3, 9, 9, EOS];
    const scored = await scoreAnswer(engine, [4, EOS], answer);
    const expected = answer.map((id, i) => logSoftmax(table([4, EOS], [START, ...answer.slice(0, i)]))[id] ?? 0);
    expect(scored.logprobs).toHaveLength(answer.length);
    for (const [i, value] of expected.entries()) expect(scored.logprobs[i]).toBeCloseTo(value, 5);
    expect(scored.logprob).toBeCloseTo(
      expected.reduce((a, b) => a + b),
      4,
    );
    expect(engine.steps).toBe(1);
    expect(engine.open).toBe(0);
  });

  it('scores a generated answer as generation did', async () => {
    const table = hashTable(VOCAB, 0.5);
    const generated = await generate(new TableEngine(VOCAB, table), [4, 8, EOS], greedy(30));
    const scored = await scoreAnswer(new TableEngine(VOCAB, table), [4, 8, EOS], generated.ids);
    expect(scored.logprob).toBeCloseTo(generated.logprob, 4);
  });
});

describe('resolveDecoding', () => {
  it('is greedy with 512 tokens unless asked otherwise', () => {
    expect(resolveDecoding({})).toEqual({ kind: 'greedy', maxNewTokens: 512 });
    expect(resolveDecoding({ temperature: 0, topP: 0.5, seed: 3 })).toEqual({ kind: 'greedy', maxNewTokens: 512 });
    expect(resolveDecoding({ beams: 4, maxNewTokens: 7 })).toEqual({ kind: 'beam', beams: 4, maxNewTokens: 7 });
    expect(resolveDecoding({ topP: 0.9 }, () => 42)).toMatchObject({
      kind: 'sample',
      temperature: 1,
      topP: 0.9,
      seed: 42,
    });
    expect(resolveDecoding({ temperature: 0.7, seed: 0 }, () => 42)).toMatchObject({ kind: 'sample', seed: 0 });
  });

  it('names the value that is out of range', () => {
    for (const [decoding, message] of [
      [{ maxNewTokens: 0 }, /max-new-tokens is 0/],
      [{ maxNewTokens: 2.5 }, /max-new-tokens is 2.5/],
      [{ maxNewTokens: 1e9 }, /from 1 to 8192/],
      [{ beams: 99 }, /beams is 99/],
      [{ temperature: -1 }, /temperature is -1/],
      [{ temperature: Number.NaN }, /temperature is NaN/],
      [{ topP: 0 }, /top-p is 0/],
      [{ topP: 1.1 }, /top-p is 1.1/],
      [{ topK: -1 }, /top-k is -1/],
      [{ temperature: 1, seed: -1 }, /seed is -1/],
      [{ beams: 2, temperature: 1 }, /exclude each other/],
    ] as const) {
      expect(() => resolveDecoding(decoding)).toThrow(UsageError);
      expect(() => resolveDecoding(decoding)).toThrow(message);
    }
  });
});
