// Results as text, and the journal that a stopped run goes on from.
import { describe, expect, it } from 'vitest';
import { journalHeader, journalLine, readJournal } from '../../../server/prompts/journal';
import { csvHeader, csvLine, csvRow, resultJsonLine } from '../../../server/prompts/results';
import { parseTable } from '../../../server/prompts/table';
import type { PromptOutcome } from '../../../server/protocol';
import { answered, SET } from './support';

const failed: PromptOutcome = { kind: 'failed', code: 'empty-input', message: 'Nothing "here".' };

describe('CSV', () => {
  it('is read back as it was written', () => {
    const cells = ['a,b', 'say "x"', 'two\nlines', ' space ', '', 'plain', '=1+1'];
    expect(csvLine(['plain', 'b'])).toBe('plain,b\n');
    expect(parseTable(csvLine(cells), { format: 'csv', header: false }).rows[0]?.cells).toEqual(cells);
  });

  it('keeps the columns of the table, and tells a new column from an old one of its name', () => {
    const layout = { columns: ['id', 'output'], options: true };
    expect(csvHeader(layout)).toBe('id,output,flan output,probability,error\n');
    const options = [
      { option: 'yes', logprob: -1, probability: 0.75 },
      { option: 'no', logprob: -2, probability: 0.25 },
    ];
    const row = { line: 2, input: 'x', cells: ['7'] };
    expect(csvRow({ ...row, outcome: answered('yes', { options }) }, layout)).toBe('7,,yes,0.7500,\n');
    expect(csvRow({ ...row, outcome: failed }, layout)).toBe('7,,,,"Nothing ""here""."\n');
    expect(csvHeader({ options: false })).toBe('line,input,output,error\n');
    expect(csvRow({ ...row, outcome: answered('a') }, { options: false })).toBe('2,x,a,\n');
  });
});

describe('JSON lines', () => {
  it('hold what is known of an answer', () => {
    const votes = [{ answer: '7', count: 3 }];
    const outcome = answered('7', { votes, sample: 'So it is 7.', dropped: [3] });
    expect(JSON.parse(resultJsonLine({ line: 4, input: 'q', outcome }))).toEqual({
      line: 4,
      input: 'q',
      output: '7',
      logprob: -1,
      finishReason: 'stop',
      votes: { '7': 3 },
      sample: 'So it is 7.',
      dropped: [4],
    });
    expect(JSON.parse(resultJsonLine({ line: 4, input: 'q', outcome: failed }))).toEqual({
      line: 4,
      input: 'q',
      error: { code: 'empty-input', message: 'Nothing "here".' },
    });
  });
});

describe('a journal', () => {
  const identity = { set: SET, model: 'm', weights: 'int8', whenTooLong: 'refuse' } as const;
  const text = `${journalHeader(identity)}${journalLine('a\nb', answered('1'))}${journalLine('c', failed)}${journalLine('d', answered('2'))}`;

  it('gives back the answers by their input; failures are tried again', () => {
    const outcomes = readJournal(text, identity);
    expect([...(outcomes?.keys() ?? [])]).toEqual(['a\nb', 'd']);
    expect(outcomes?.get('d')).toEqual(answered('2'));
  });

  it('survives a crash in the middle of a line', () => {
    for (const cut of [1, 10, 40]) {
      expect([...(readJournal(text.slice(0, -cut - 1), identity)?.keys() ?? [])]).toEqual(['a\nb']);
    }
  });

  it('belongs to what answers depend on, and to nothing else', () => {
    const other = (change: object) => readJournal(text, { ...identity, ...change });
    const edited = (change: object) => other({ set: { ...SET, ...change } });
    expect(other({ model: 'n' })).toBeUndefined();
    expect(other({ weights: 'fp32' })).toBeUndefined();
    expect(other({ whenTooLong: 'drop' })).toBeUndefined();
    expect(edited({ instruction: 'Other.' })).toBeUndefined();
    expect(edited({ options: ['a', 'b'] })).toBeUndefined();
    expect(edited({ examples: [...SET.examples].reverse() })).toBeUndefined();
    expect(edited({ generation: { beams: 2 } })).toBeUndefined();
    expect(edited({ name: 'New', description: 'Other.' })?.size).toBe(2);
    expect(edited({ examples: [...SET.examples, { input: 'x', output: 'y', off: true }] })?.size).toBe(2);
    expect(readJournal('', identity)).toBeUndefined();
    expect(readJournal('line,input\n', identity)).toBeUndefined();
  });
});
