/**
 * A prompt set while it is edited. Each example has a key that stays with it wherever it moves, so that focus, undo and
 * results follow the example, not its place.
 */
import type { Example, PromptSet } from '../../../server/protocol';

export interface Row {
  readonly key: number;
  readonly example: Example;
}

export interface Draft {
  /** All but its examples, which are in `rows`. */
  readonly set: PromptSet;
  readonly rows: readonly Row[];
}

let lastKey = 0;

export function newRow(example: Example): Row {
  lastKey += 1;
  return { key: lastKey, example };
}

/** Rows of `before` keep their keys where the example at the same place is the same text. */
export function draftOf(set: PromptSet, before?: Draft): Draft {
  const rows = set.examples.map((example, index) => {
    const old = before?.rows[index];
    const same = old !== undefined && old.example.input === example.input && old.example.output === example.output;
    return same ? { key: old.key, example } : newRow(example);
  });
  return { set, rows };
}

export function setOf(draft: Draft): PromptSet {
  return { ...draft.set, examples: draft.rows.map((row) => row.example) };
}

export function isEmpty({ input, output }: Example): boolean {
  return input.trim() === '' && output.trim() === '';
}

export function changeRow(draft: Draft, key: number, change: Partial<Example>): Draft {
  return {
    ...draft,
    rows: draft.rows.map((row) => (row.key === key ? { key, example: { ...row.example, ...change } } : row)),
  };
}

/** On is the default, and the default is not written. */
export function toggleRow(draft: Draft, key: number): Draft {
  return {
    ...draft,
    rows: draft.rows.map((row) => {
      if (row.key !== key) return row;
      const { off, ...on } = row.example;
      return { key, example: off === true ? on : { ...on, off: true } };
    }),
  };
}

/** Moves the row at `from` so that it stands at `to`. */
export function moveRow(draft: Draft, from: number, to: number): Draft {
  const rows = [...draft.rows];
  const [row] = from < 0 ? [] : rows.splice(from, 1);
  if (row === undefined) return draft;
  rows.splice(to, 0, row);
  return { ...draft, rows };
}

export function insertRow(draft: Draft, at: number, row: Row): Draft {
  return { ...draft, rows: draft.rows.toSpliced(at, 0, row) };
}

export function removeRow(draft: Draft, at: number): Draft {
  return { ...draft, rows: draft.rows.toSpliced(at, 1) };
}

/** Appends; an empty row at the end, the one that waits to be filled, gives its place. */
export function appendRows(draft: Draft, examples: readonly Example[]): Draft {
  const last = draft.rows.at(-1);
  const before = last !== undefined && isEmpty(last.example) ? draft.rows.slice(0, -1) : draft.rows;
  return { ...draft, rows: [...before, ...examples.map(newRow)] };
}

/** Writes a side of the row with `key`; without it, of the last row if that side is free there, else of a new one. */
export function fillSide(draft: Draft, side: 'input' | 'output', text: string, key?: number): [Draft, number] {
  const last = draft.rows.at(-1);
  const place = key ?? (last !== undefined && last.example[side].trim() === '' ? last.key : undefined);
  if (place !== undefined) return [changeRow(draft, place, { [side]: text }), place];
  const row = newRow({ input: '', output: '', [side]: text });
  return [{ ...draft, rows: [...draft.rows, row] }, row.key];
}
