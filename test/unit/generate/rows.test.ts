/** Answers in rows are the answers that each row gives alone. */
import { describe, expect, it } from 'vitest';
import { CancelledError } from '../../../server/errors';
import { generateFrom } from '../../../server/generate/generate';
import { sampleRows, scoreRows } from '../../../server/generate/rows';
import { scoreFrom } from '../../../server/generate/score';
import { hashTable, TableEngine } from './table-engine';

const VOCAB = 40;
const prompt = Int32Array.of(5, 6, 1);

describe('samples in rows', () => {
  it('are those of their seeds, also beyond one group of rows, with reason and log-probability', async () => {
    const engine = new TableEngine(VOCAB, hashTable(VOCAB, 2));
    const memory = await engine.encode(prompt);
    const sampling = { temperature: 0.9, seed: 3, maxNewTokens: 9 };
    const finished: number[] = [];
    const samples = await sampleRows(engine, memory, 37, sampling, { onFinished: (count) => finished.push(count) });
    expect(samples).toHaveLength(37);
    for (const [row, sample] of samples.entries()) {
      const decoding = { kind: 'sample', topK: 0, topP: 1, ...sampling, seed: 3 + row } as const;
      const alone = await generateFrom(engine, memory, [...prompt], decoding);
      expect(sample.ids).toEqual(alone.ids);
      expect(sample.finishReason).toBe(alone.finishReason);
      expect(sample.logprob).toBeCloseTo(alone.logprob, 5);
    }
    expect(new Set(samples.map(({ finishReason }) => finishReason))).toEqual(new Set(['stop', 'length']));
    expect(finished.at(-1)).toBe(37);
    expect(finished).toEqual([...finished].sort((a, b) => a - b));
    memory.dispose();
    expect(engine.open).toBe(0);
  });

  it('end where the guard says, each for itself', async () => {
    const engine = new TableEngine(VOCAB, hashTable(VOCAB, -9));
    const memory = await engine.encode(prompt);
    const guard = (ids: readonly number[]) => ids.length >= 2 && (ids.at(-1) ?? 0) % 2 === 0;
    const samples = await sampleRows(engine, memory, 5, { temperature: 1, seed: 1, maxNewTokens: 60 }, { guard });
    for (const { ids, finishReason } of samples) {
      if (finishReason === 'guard') expect((ids.at(-1) ?? 1) % 2).toBe(0);
      expect(ids.slice(1, -1).every((id) => id % 2 === 1)).toBe(true);
    }
    expect(samples.map(({ finishReason }) => finishReason)).toContain('guard');
    memory.dispose();
  });

  it('are no samples when stopped', async () => {
    const engine = new TableEngine(VOCAB, hashTable(VOCAB, -9));
    const memory = await engine.encode(prompt);
    const signal = { stopped: false };
    engine.onStep = (step) => {
      if (step === 3) signal.stopped = true;
    };
    const sampling = { temperature: 1, seed: 1, maxNewTokens: 60 };
    await expect(sampleRows(engine, memory, 20, sampling, { signal })).rejects.toThrow(CancelledError);
    expect(engine.steps).toBe(4);
    memory.dispose();
    expect(engine.open).toBe(0);
  });
});

describe('scores in rows', () => {
  it('are the sums of each answer alone, whatever stands beside it', async () => {
    const engine = new TableEngine(VOCAB, hashTable(VOCAB));
    const memory = await engine.encode(prompt);
    // More answers than rows at a time, and one that is longer than all positions at a time.
    const answers = Array.from({ length: 35 }, (_, at) => [
      ...Array.from({ length: at % 6 }, (_, i) => 2 + ((at + i) % 30)),
      1,
    ]);
    answers[20] = [...Array.from({ length: 300 }, (_, i) => 2 + (i % 30)), 1];
    const scores = await scoreRows(engine, memory, answers);
    expect(scores).toHaveLength(35);
    for (const [at, answer] of answers.entries()) {
      const alone = await scoreFrom(engine, memory, answer);
      expect(scores[at]).toBeCloseTo(
        alone.reduce((sum, value) => sum + value, 0),
        3,
      );
    }
    memory.dispose();
    expect(engine.open).toBe(0);
  });
});
