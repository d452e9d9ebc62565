import { describe, expect, it } from 'vitest';
import { generate } from '../../../server/generate/generate';
import { LookupIndex } from '../../../server/generate/speculation';
import { EOS, fixedTable, hashTable, type Table, TableEngine } from './table-engine';

const VOCAB = 40;

/** Copies the prompt, leaving out or changing a token now and then: what answers about a text look like. */
const copying: Table = fixedTable(VOCAB, (prompt) => {
  const body = prompt.slice(0, -1);
  return [...body.map((id, i) => (i % 7 === 6 ? (id % (VOCAB - 2)) + 2 : id)), EOS];
});

function source(length: number, salt: number): number[] {
  return [...Array.from({ length }, (_, i) => 2 + ((i * i * 7 + salt * i + salt) % (VOCAB - 2))), EOS];
}

describe('speculation', () => {
  for (const [name, table] of [
    ['an answer that copies', copying],
    ['an answer that has nothing to do with the source', hashTable(VOCAB, -1)],
    ['an answer that repeats itself', fixedTable(VOCAB, [...Array.from({ length: 50 }, (_, i) => 2 + (i % 5)), EOS])],
  ] as const) {
    it(`gives the same as without, id for id: ${name}`, async () => {
      for (let salt = 1; salt < 25; salt++) {
        const prompt = source(30, salt);
        const limit = 1 + ((salt * 5) % 45);
        const plain = await generate(new TableEngine(VOCAB, table), prompt, { kind: 'greedy', maxNewTokens: limit });
        for (const draft of [1, 3, 8]) {
          const engine = new TableEngine(VOCAB, table);
          const seen: number[] = [];
          const options = { draft, onTokens: (ids: readonly number[]) => seen.push(...ids) };
          const drafted = await generate(engine, prompt, { kind: 'greedy', maxNewTokens: limit }, options);
          expect(drafted.ids).toEqual(plain.ids);
          expect(drafted.finishReason).toBe(plain.finishReason);
          expect(drafted.logprob).toBeCloseTo(plain.logprob, 4);
          expect(seen).toEqual(plain.ids);
          expect(engine.open).toBe(0);
        }
      }
    });
  }

  it('needs far fewer steps where the answer copies the source', async () => {
    const engine = new TableEngine(VOCAB, copying);
    const result = await generate(engine, source(40, 3), { kind: 'greedy', maxNewTokens: 60 }, { draft: 8 });
    expect(result.ids).toHaveLength(41);
    expect(result.steps).toBeLessThan(25);
    expect(engine.steps).toBe(result.steps);
  });

  it('a guard sees every token and ends inside a draft', async () => {
    const prompt = source(40, 3);
    const plain = await generate(new TableEngine(VOCAB, copying), prompt, { kind: 'greedy', maxNewTokens: 60 });
    const guard = (ids: readonly number[]) => ids.length === 13;
    const drafted = await generate(
      new TableEngine(VOCAB, copying),
      prompt,
      { kind: 'greedy', maxNewTokens: 60 },
      { draft: 8, guard },
    );
    expect(drafted.finishReason).toBe('guard');
    expect(drafted.ids).toEqual(plain.ids.slice(0, 13));
  });
});

describe('LookupIndex', () => {
  it('proposes what followed the longest match, and of equal ones the latest', () => {
    const index = new LookupIndex(100);
    for (const id of [1, 2, 3, 4, 9, 2, 3, 5, 8, 1, 2, 3]) index.push(id);
    // `1 2 3` is longer than the later `9 2 3`.
    expect(index.propose(2)).toEqual([4, 9]);
    const latest = new LookupIndex(100);
    for (const id of [7, 2, 3, 4, 8, 2, 3, 5, 6, 2, 3]) latest.push(id);
    expect(latest.propose(3)).toEqual([5, 6, 2]);
  });

  it('proposes nothing for what was never seen, or for one token alone', () => {
    const index = new LookupIndex(100);
    for (const id of [1, 2, 3, 9, 2]) index.push(id);
    expect(index.propose(4)).toEqual([]);
    expect(new LookupIndex(100).propose(4)).toEqual([]);
  });
});
