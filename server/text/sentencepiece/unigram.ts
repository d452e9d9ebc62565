/** SentencePiece's unigram model: the most probable split of a text into pieces. */
import type { SentencePieceModel } from './model';

/** So much less probable than the rarest piece is a character that the vocabulary lacks. */
const UNKNOWN_PENALTY = 10;
/** The smallest positive float32: where SentencePiece starts when it looks for the largest score. */
const FLOAT_MIN = 1.1754943508222875e-38;

export class Unigram {
  readonly unkId: number;
  readonly #ids = new Map<string, number>();
  readonly #scores: Float64Array;
  /** Characters of the longest piece. */
  readonly #longest: number;
  readonly #unknownScore: number;
  /** By byte; undefined without byte pieces. */
  readonly #bytes: readonly number[] | undefined;

  /** @throws RangeError for a model without an unknown piece, or with byte fallback and not all bytes */
  constructor({ pieces, byteFallback }: Pick<SentencePieceModel, 'pieces' | 'byteFallback'>) {
    this.unkId = pieces.findIndex(({ type }) => type === 'unknown');
    if (this.unkId < 0) throw new RangeError('it has no piece for what is unknown');
    let least = Number.POSITIVE_INFINITY;
    let most = FLOAT_MIN;
    for (const { type, score } of pieces) {
      if (type !== 'normal') continue;
      least = Math.min(least, score);
      most = Math.max(most, score);
    }
    this.#unknownScore = Math.fround(least - UNKNOWN_PENALTY);
    this.#scores = new Float64Array(pieces.length);
    let longest = 0;
    for (const [id, { text, type, score }] of pieces.entries()) {
      if (type !== 'normal' && type !== 'user') continue;
      this.#ids.set(text, id);
      // What a user defined is always taken whole.
      this.#scores[id] = type === 'user' ? Buffer.byteLength(text) * most - 0.1 : score;
      longest = Math.max(longest, [...text].length);
    }
    this.#longest = longest;
    if (byteFallback) {
      this.#bytes = Array.from({ length: 256 }, (_, byte) => {
        const name = `<0x${byte.toString(16).toUpperCase().padStart(2, '0')}>`;
        const id = pieces.findIndex(({ text, type }) => type === 'byte' && text === name);
        if (id < 0) throw new RangeError(`it has no piece ${name}`);
        return id;
      });
    }
  }

  /** Ids of a normalized text. */
  encode(text: string): number[] {
    const chars = [...text];
    // Sums are stored as float32, as SentencePiece does: rounding decides between splits that are tied.
    // Of the best split of the characters before each position: its score, where its last piece starts, and that piece.
    const scores = new Float32Array(chars.length + 1);
    const starts = new Int32Array(chars.length + 1).fill(-1);
    const ids = new Int32Array(chars.length + 1);
    const offer = (end: number, start: number, id: number, score: number) => {
      if (starts[end] !== -1 && !(score > (scores[end] as number))) return;
      scores[end] = score;
      starts[end] = start;
      ids[end] = id;
    };
    for (let start = 0; start < chars.length; start++) {
      const before = scores[start] as number;
      let single = false;
      let piece = '';
      const last = Math.min(chars.length, start + this.#longest);
      for (let end = start + 1; end <= last; end++) {
        piece += chars[end - 1];
        const id = this.#ids.get(piece);
        if (id === undefined) continue;
        offer(end, start, id, Math.fround(before + (this.#scores[id] as number)));
        if (end === start + 1) single = true;
      }
      if (!single) offer(start + 1, start, this.unkId, Math.fround(before + this.#unknownScore));
    }
    const found: { readonly id: number; readonly text: string }[] = [];
    for (let end = chars.length; end > 0; end = starts[end] as number) {
      found.push({ id: ids[end] as number, text: chars.slice(starts[end], end).join('') });
    }
    return this.#written(found.reverse());
  }

  /** Unknown characters in their bytes, or a run of them as one unknown token. */
  #written(found: readonly { readonly id: number; readonly text: string }[]): number[] {
    const ids: number[] = [];
    for (const { id, text } of found) {
      if (id !== this.unkId) ids.push(id);
      else if (this.#bytes !== undefined) for (const byte of Buffer.from(text)) ids.push(this.#bytes[byte] as number);
      else if (ids.at(-1) !== id) ids.push(id);
    }
    return ids;
  }
}
