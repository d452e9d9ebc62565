// Steps that are taken back: each by itself, whatever was typed or changed since.
import { expect, it } from 'vitest';
import { newPromptSet } from '../../../server/prompts/set';
import {
  appendRows,
  changeRow,
  type Draft,
  draftOf,
  moveRow,
  removeRow,
  setOf,
  toggleRow,
} from '../../../src/panel/page/draft';
import { undone } from '../../../src/panel/page/undo';

const draft = draftOf({
  ...newPromptSet('Set'),
  examples: ['a', 'b', 'c'].map((input) => ({ input, output: 'x' })),
});
const inputs = ({ rows }: Draft) => rows.map(({ example }) => example.input).join('');
const row = (index: number) => {
  const found = draft.rows[index];
  if (found === undefined) throw new Error('no such row');
  return found;
};

it('a deleted row comes back where it was, and what was typed since stays', () => {
  const after = changeRow(removeRow(draft, 0), row(1).key, { input: 'B' });
  expect(inputs(undone(after, { kind: 'insert', row: row(0), at: 0 }))).toBe('aBc');
  const fewer = removeRow(removeRow(removeRow(draft, 2), 0), 0);
  expect(inputs(undone(fewer, { kind: 'insert', row: row(2), at: 2 }))).toBe('c');
});

it('what was pasted goes as a whole', () => {
  const pasted = appendRows(draft, [
    { input: 'd', output: 'x' },
    { input: 'e', output: 'x' },
  ]);
  const keys = pasted.rows.slice(-2).map(({ key }) => key);
  expect(inputs(undone(moveRow(pasted, 4, 0), { kind: 'remove', keys }))).toBe('abc');
});

it('a move goes back; one of a row that is gone does nothing', () => {
  const { key } = row(0);
  const moved = moveRow(draft, 0, 2);
  expect(inputs(undone(moved, { kind: 'move', key, to: 0 }))).toBe('abc');
  expect(inputs(undone(removeRow(moved, 2), { kind: 'move', key, to: 0 }))).toBe('bc');
});

it('a row that was switched off is on again', () => {
  const { key } = row(1);
  expect(setOf(undone(toggleRow(draft, key), { kind: 'toggle', key }))).toEqual(setOf(draft));
});
