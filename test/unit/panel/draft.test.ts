// Editing a prompt set: rows keep their keys, so that focus and results follow the example and not its place.
import { describe, expect, it } from 'vitest';
import { newPromptSet } from '../../../server/prompts/set';
import type { PromptSet } from '../../../server/protocol';
import { looksLikeCells } from '../../../src/panel/page/cells';
import {
  appendRows,
  changeRow,
  draftOf,
  fillSide,
  insertRow,
  moveRow,
  newRow,
  removeRow,
  setOf,
  toggleRow,
} from '../../../src/panel/page/draft';

const example = (input: string, output = input.toUpperCase()) => ({ input, output });
const set: PromptSet = { ...newPromptSet('Letters'), examples: [example('a'), example('b'), example('c')] };
const inputs = (draft: ReturnType<typeof draftOf>) => draft.rows.map((row) => row.example.input).join('');

describe('a draft', () => {
  it('is the set again, with fields that this version does not know', () => {
    const withMore = { ...set, examples: [{ ...example('a'), note: 'kept' }], author: 'somebody' };
    expect(setOf(draftOf(withMore))).toEqual(withMore);
    const draft = draftOf(withMore);
    const changed = changeRow(draft, draft.rows[0]?.key ?? 0, { output: 'other' });
    expect(setOf(changed).examples[0]).toEqual({ input: 'a', output: 'other', note: 'kept' });
  });

  it('keeps the keys of rows that are the same after the file was read again', () => {
    const before = draftOf(set);
    const after = draftOf({ ...set, examples: [example('a'), example('x'), example('c')] }, before);
    expect(after.rows.map((row, index) => row.key === before.rows[index]?.key)).toEqual([true, false, true]);
  });

  it('moves, removes and brings back rows', () => {
    const draft = draftOf(set);
    expect(inputs(moveRow(draft, 0, 2))).toBe('bca');
    expect(inputs(moveRow(draft, 2, 0))).toBe('cab');
    expect(inputs(moveRow(draft, 7, 0))).toBe('abc');
    const [first] = draft.rows;
    if (first === undefined) throw new Error('no row');
    expect(inputs(insertRow(removeRow(draft, 0), 0, first))).toBe('abc');
  });

  it('writes `off` only where a row is off', () => {
    const draft = draftOf(set);
    const key = draft.rows[1]?.key ?? 0;
    const off = toggleRow(draft, key);
    expect(setOf(off).examples[1]).toEqual({ ...example('b'), off: true });
    expect(setOf(toggleRow(off, key)).examples[1]).toEqual(example('b'));
  });

  it('gives the place of an empty row at the end to what is added', () => {
    const draft = draftOf(set);
    const waiting = insertRow(draft, 3, newRow({ input: '', output: ' ' }));
    expect(inputs(appendRows(waiting, [example('d')]))).toBe('abcd');
    expect(inputs(appendRows(draft, [example('d')]))).toBe('abcd');
  });

  it('fills the free side of the last row, else of a new one', () => {
    const [withInput, key] = fillSide(draftOf(set), 'input', 'd');
    expect(inputs(withInput)).toBe('abcd');
    const [whole, same] = fillSide(withInput, 'output', 'D');
    expect(same).toBe(key);
    expect(setOf(whole).examples[3]).toEqual({ input: 'd', output: 'D' });
    expect(setOf(fillSide(whole, 'output', 'X')[0]).examples[4]).toEqual({ input: '', output: 'X' });
    expect(setOf(fillSide(whole, 'output', 'X', key)[0]).examples[3]).toEqual({ input: 'd', output: 'X' });
  });
});

describe('a pasted text', () => {
  it('is cells when all of its lines have the same number of tabs', () => {
    expect(looksLikeCells('a\tb\nc\td\n')).toBe(true);
    expect(looksLikeCells('a\tb\r\nc\td')).toBe(true);
  });

  it('is text when it is one line, indented code, or has no tabs', () => {
    for (const text of ['a\tb', 'a\nb', '\tif x:\n\treturn', 'a\tb\nc', '']) {
      expect(looksLikeCells(text), JSON.stringify(text)).toBe(false);
    }
  });
});
