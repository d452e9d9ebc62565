/**
 * What Control+Z takes back: steps that change the list of examples. Each knows its inverse and not the list before it, so
 * what was typed since stays.
 */
import { type Draft, insertRow, moveRow, type Row, toggleRow } from './draft';

export type Inverse =
  | { readonly kind: 'insert'; readonly row: Row; readonly at: number }
  | { readonly kind: 'remove'; readonly keys: readonly number[] }
  | { readonly kind: 'move'; readonly key: number; readonly to: number }
  | { readonly kind: 'toggle'; readonly key: number };

export interface Step {
  readonly inverse: Inverse;
  /** What a bar with an Undo button says; undefined for what is as easily done the other way round. */
  readonly bar?: string | undefined;
}

/** Longer than anybody goes back; deleted rows are kept in it. */
export const MOST_STEPS = 100;

/** The list without a step; what is not there any more is left alone. */
export function undone(draft: Draft, inverse: Inverse): Draft {
  switch (inverse.kind) {
    case 'insert':
      return insertRow(draft, Math.min(inverse.at, draft.rows.length), inverse.row);
    case 'remove':
      return { ...draft, rows: draft.rows.filter(({ key }) => !inverse.keys.includes(key)) };
    case 'move':
      return moveRow(
        draft,
        draft.rows.findIndex(({ key }) => key === inverse.key),
        inverse.to,
      );
    case 'toggle':
      return toggleRow(draft, inverse.key);
  }
}

/** The row that a person looks for after it. */
export function rowAfter(inverse: Inverse): number | undefined {
  if (inverse.kind === 'insert') return inverse.row.key;
  return inverse.kind === 'remove' ? undefined : inverse.key;
}
