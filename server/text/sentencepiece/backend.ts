/** The tokenizer of a T5 folder that has a SentencePiece model: its pieces, T5's sentinels, and the end token. */
import type { SpecialToken, TokenizerBackend } from '../backend';
import { type Piece, readSentencePieceModel, type SentencePieceModel } from './model';
import { Normalizer } from './normalizer';
import { Unigram } from './unigram';

/** What the files beside the model say. */
export interface SentencePieceExtras {
  /** `<extra_id_0>` and so on, by their ids. */
  readonly added: ReadonlyMap<string, number>;
  /** Sentinels that T5's tokenizer appends to its pieces, in descending order: 100 unless the folder says otherwise. */
  readonly sentinels: number;
  readonly endToken: string;
}

const SPACE = '▁';
// A byte order mark is a character like any other here.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class SentencePieceBackend implements TokenizerBackend {
  /** Sums over the whole text decide between splits that are tied. */
  readonly wordwise = false;
  readonly unkId: number | undefined;
  readonly special: readonly SpecialToken[];
  readonly #pieces: readonly Piece[];
  readonly #normalizer: Normalizer;
  readonly #unigram: Unigram;
  readonly #endId: number;
  readonly #specialIds = new Map<string, number>();
  readonly #spellings = new Map<number, string>();
  readonly #leading: RegExp;
  /** Splits a text at the special tokens that it spells out. */
  readonly #splitter: RegExp | undefined;

  /** @throws RangeError for bytes that are no such model, or one of another kind: the clause that says why */
  constructor(bytes: Uint8Array, extras: SentencePieceExtras) {
    const model = readSentencePieceModel(bytes);
    if (model.kind !== 'unigram') throw new RangeError(`it is a ${model.kind} model, and T5's are unigram models`);
    this.#pieces = model.pieces;
    this.#normalizer = new Normalizer(model);
    this.#unigram = new Unigram(model);
    this.#leading = model.removeExtraSpaces ? /^ +/ : /^ /;
    this.unkId = model.byteFallback ? undefined : this.#unigram.unkId;
    for (const [content, id] of specialsOf(model, extras)) {
      this.#specialIds.set(content, id);
      this.#spellings.set(id, content);
    }
    this.special = [...this.#specialIds].map(([content, id]) => ({ id, content }));
    const end = this.#specialIds.get(extras.endToken);
    if (end === undefined) throw new RangeError(`it has no end token ${extras.endToken}`);
    this.#endId = end;
    const spellings = [...this.#specialIds.keys()].sort((a, b) => b.length - a.length).map(escapeRegExp);
    this.#splitter = spellings.length === 0 ? undefined : new RegExp(`(${spellings.join('|')})`, 'u');
  }

  encode(text: string, frame: boolean): number[] {
    const ids: number[] = [];
    for (const part of this.#splitter === undefined ? [text] : text.split(this.#splitter)) {
      const special = this.#specialIds.get(part);
      if (special !== undefined) ids.push(special);
      else if (part !== '') for (const id of this.#unigram.encode(this.#normalizer.normalize(part))) ids.push(id);
    }
    if (frame) ids.push(this.#endId);
    return ids;
  }

  decode(ids: readonly number[]): string {
    let text = '';
    let bytes: number[] = [];
    const flush = () => {
      if (bytes.length > 0) text += decoder.decode(Uint8Array.from(bytes));
      bytes = [];
    };
    for (const id of ids) {
      const piece = this.#spellings.has(id) ? undefined : this.#pieces[id];
      if (piece?.type === 'byte') {
        bytes.push(Number.parseInt(piece.text.slice(3, 5), 16));
        continue;
      }
      flush();
      text += piece?.text.replaceAll(SPACE, ' ') ?? '';
    }
    flush();
    // The space before the first word is SentencePiece's own; where extra ones are removed, all at the start are.
    return text.replace(this.#leading, '');
  }

  piece(id: number): string | undefined {
    return this.#spellings.get(id) ?? this.#pieces[id]?.text;
  }
}

/** Control pieces and the unknown one, then what comes with the folder, then T5's sentinels where none were named. */
function specialsOf({ pieces }: SentencePieceModel, extras: SentencePieceExtras): Map<string, number> {
  const specials = new Map<string, number>();
  for (const [id, { text, type }] of pieces.entries()) {
    if (type === 'control' || type === 'unknown') specials.set(text, id);
  }
  for (const [content, id] of extras.added) specials.set(content, id);
  const own = pieces.some(({ text }) => /^▁?<extra_id_\d+>$/.test(text));
  if (!own) {
    for (let n = 0; n < extras.sentinels; n++) {
      const content = `<extra_id_${n}>`;
      if (!specials.has(content)) specials.set(content, pieces.length + extras.sentinels - 1 - n);
    }
  }
  return specials;
}

function escapeRegExp(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}
