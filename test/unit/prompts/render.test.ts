// The few-shot form, and what keeps a set from being run.
import { describe, expect, it } from 'vitest';
import { problemsOf } from '../../../server/prompts/problems';
import { promptText, sectionsOf } from '../../../server/prompts/render';
import type { PromptSet } from '../../../server/prompts/set';
import { inEnglish } from '../../../server/saying';
import { SET } from './support';

describe('a prompt', () => {
  it('has instruction, examples and the query with an open answer', () => {
    expect(promptText(SET, ' New and good.\n')).toBe(
      'Is the text positive or negative?\n\n' +
        'Text: A joy to use.\nSentiment: positive\n\n' +
        'Text: It crashes all the time.\nSentiment: negative\n\n' +
        'Text: I like it.\nSentiment: positive\n\n' +
        'Text: New and good.\nSentiment:',
    );
  });

  it('is written in the three forms, without what is switched off or empty', () => {
    const examples = [
      { input: 'a', output: 'b', off: true },
      { input: 'c', output: 'd' },
    ];
    const bare = { ...SET, instruction: ' ', examples };
    expect(promptText({ ...bare, form: 'qa' }, 'x')).toBe('Q: c\nA: d\n\nQ: x\nA:');
    expect(promptText({ ...bare, form: 'io' }, 'x')).toBe('Input: c\nOutput: d\n\nInput: x\nOutput:');
    const signs = { input: 'Text >', output: '=>' };
    expect(promptText({ ...bare, form: signs }, 'x')).toBe('Text > c\n=> d\n\nText > x\n=>');
  });

  it('lists the options once, after the instruction', () => {
    const { head } = sectionsOf({ ...SET, options: ['positive', ' negative '] }, 'x');
    expect(head).toBe('Is the text positive or negative?\n\nOPTIONS:\n- positive\n- negative\n\n');
    expect(sectionsOf({ ...SET, options: ['a', 'b'], instruction: '' }, 'x').head).toBe('OPTIONS:\n- a\n- b\n\n');
  });

  it('is the sum of its sections, for any choice of examples', () => {
    const { head, examples, query } = sectionsOf(SET, 'x', [2, 0]);
    expect(examples).toHaveLength(2);
    expect(examples[0]).toContain('I like it.');
    expect(head + examples.join('') + query).toBe(promptText(SET, 'x', [2, 0]));
  });
});

describe('a set that cannot be run', () => {
  const problems = (change: Partial<PromptSet>) =>
    problemsOf({ ...SET, ...change }).map(({ saying }) => inEnglish(saying));

  it('says why, and which example it is', () => {
    expect(problemsOf(SET)).toEqual([]);
    expect(problems({ form: { input: '', output: 'x' } })).toEqual([expect.stringMatching(/^A label is empty/)]);
    expect(problems({ options: ['positive'] })[0]).toMatch(/^One option is no choice/);
    expect(problems({ options: ['positive', 'negative', ' '] })).toEqual([
      expect.stringMatching(/^An option is empty/),
    ]);
    expect(problems({ options: ['positive', 'negative', 'positive '] })[0]).toMatch(/"positive" is there twice/);
    expect(problems({ generation: { beams: 2, votes: 3 } })[0]).toMatch(/exclude each other/);
    expect(problems({ generation: { temperature: 1 } })[0]).toMatch(/are for votes/);
    expect(problems({ instruction: '', examples: [] })[0]).toMatch(/tells the model nothing/);
    expect(problemsOf({ ...SET, options: ['positive', 'other'] })).toEqual([
      {
        code: 'not-an-option',
        example: 1,
        saying: { text: expect.stringMatching(/^The output of example \{0\} is none of the options/), args: [2] },
      },
    ]);
  });

  it('is not one for an example that is switched off', () => {
    const half = { input: 'a', output: '' };
    expect(problems({ examples: [...SET.examples, half] })[0]).toMatch(/^Example 4 has no output/);
    expect(problems({ examples: [...SET.examples, { ...half, off: true }] })).toEqual([]);
    expect(problems({ examples: [{ input: ' ', output: 'a' }] })[0]).toMatch(/^Example 1 has no input/);
  });
});
