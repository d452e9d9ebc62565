// Agreement, odd examples and baselines, by their stated rules.
import { describe, expect, it } from 'vitest';
import {
  compareWithBaseline,
  finalAnswer,
  oddExamples,
  sameAnswer,
  summarize,
  toBaseline,
} from '../../../server/prompts/check';
import type { CheckedExample, CheckReport, PromptSet } from '../../../server/protocol';
import { answered, SET } from './support';

const checked = (index: number, perToken: number, text = 'x', agrees = false): CheckedExample => ({
  index,
  predicted: answered(text),
  agrees,
  own: { logprob: perToken * 2, tokens: 2, perToken },
});

function report(examples: readonly CheckedExample[], more: Partial<CheckReport> = {}): CheckReport {
  const who = { engine: 'cpu', device: 'CPU', model: 'm', weights: 'int8', demo: false } as const;
  return { ...who, examples, ...summarize(examples), cancelled: false, ...more };
}

describe('the final answer', () => {
  it.each([
    ['12', '12'],
    ['It is 4 and 8. The answer is 12.', '12'],
    ['Therefore, the final answer is twelve.', 'twelve'],
    ['The answer: a b', 'a b'],
    ['Maybe the answer is 3. No, so the answer is 4.', '4'],
    ['Answer: 3.5', '3.5'],
    ['The answers differ.', 'The answers differ'],
    ['the answer is\n7', '7'],
  ])('of %j is %j', (text, answer) => {
    expect(finalAnswer(text)).toBe(answer);
  });

  it('is the same whatever its case, white space and last full stop', () => {
    expect(sameAnswer('Positive.', ' positive')).toBe(true);
    expect(sameAnswer('So it is 3. The answer is 3.', '3')).toBe(true);
    expect(sameAnswer('a  b', 'a\nb')).toBe(true);
    expect(sameAnswer('positive', 'negative')).toBe(false);
    expect(sameAnswer('', 'a')).toBe(false);
  });
});

describe('odd examples', () => {
  const of = (...values: number[]) => oddExamples(values.map((value, at) => checked(at, value)));

  it('are more than 1 nat, and more than 3 median deviations, below the median', () => {
    expect(of(-0.5, -0.5, -0.5, -1.4)).toEqual([]);
    expect(of(-0.5, -0.5, -0.5, -1.6)).toEqual([3]);
    // Median -2, deviations 1, 0.5, 0, 0.5, 3: median of them 0.5, so the limit is -3.5.
    expect(of(-1, -1.5, -2, -2.5, -3.4)).toEqual([]);
    expect(of(-1, -1.5, -2, -2.5, -3.6)).toEqual([4]);
    expect(of(-5, -0.1, -0.2, -0.1, -6)).toEqual([0, 4]);
  });

  it('need something to stand out from', () => {
    expect(of(-0.1, -0.1, -9)).toEqual([]);
    expect(oddExamples([])).toEqual([]);
    const failed: CheckedExample = { index: 9, predicted: { kind: 'failed', code: 'c', message: 'm' }, agrees: false };
    expect(summarize([failed])).toEqual({ agreeing: 0, odd: [] });
  });
});

describe('a baseline', () => {
  const before = report([checked(0, -1, 'positive', true), checked(1, -2, 'x'), checked(2, -1, 'y')]);
  const baseline = toBaseline(SET, before);
  const compare = (set: PromptSet, now: CheckReport) => compareWithBaseline(baseline, set, now);

  it('is plain JSON of texts and rounded numbers', () => {
    expect(JSON.parse(JSON.stringify(baseline))).toEqual(baseline);
    expect(baseline.examples[0]).toEqual({
      input: 'A joy to use.',
      output: 'positive',
      predicted: 'positive',
      agrees: true,
      perToken: -1,
    });
    expect(toBaseline(SET, report([checked(0, -1 / 3)])).examples[0]?.perToken).toBe(-0.333333);
  });

  it('tells same, changed, better and worse by agreement first, then by 0.1 nats per token', () => {
    const changes = (...examples: CheckedExample[]) =>
      compare(SET, report(examples)).examples.map(({ change }) => change);
    expect(changes(checked(0, -1, 'positive', true), checked(1, -2, 'x'), checked(2, -1, 'y'))).toEqual([
      'same',
      'same',
      'same',
    ]);
    expect(changes(checked(0, -1, 'no'), checked(1, -9, 'negative', true), checked(2, -1, 'z'))).toEqual([
      'worse',
      'better',
      'changed',
    ]);
    expect(changes(checked(0, -0.89, 'positive', true), checked(1, -2.11, 'x'), checked(2, -1.09, 'y'))).toEqual([
      'better',
      'worse',
      'same',
    ]);
  });

  it('follows examples that move, and knows new ones and those that are gone', () => {
    const [first, second, third] = SET.examples;
    if (first === undefined || second === undefined || third === undefined) throw new Error('three');
    const moved = { ...SET, examples: [third, { ...second, output: 'neutral' }, first] };
    const now = report([checked(0, -1, 'y'), checked(1, -2, 'x'), checked(2, -1, 'positive', true)]);
    const { examples, gone, counts } = compare(moved, now);
    expect(examples.map(({ change }) => change)).toEqual(['same', 'new', 'same']);
    expect(examples[2]?.before?.input).toBe(first.input);
    expect(gone.map(({ input }) => input)).toEqual([second.input]);
    expect(counts).toEqual({ same: 2, changed: 0, better: 0, worse: 0, new: 1 });
    // A check that was stopped early has not lost the rest.
    expect(compare(SET, report([checked(0, -1, 'positive', true)], { cancelled: true })).gone).toEqual([]);
  });

  it('says when another model made it', () => {
    expect(compare(SET, before).otherModel).toBe(false);
    expect(compare(SET, { ...before, model: 'n' }).otherModel).toBe(true);
    expect(compare(SET, { ...before, weights: 'fp32' }).otherModel).toBe(true);
  });
});
