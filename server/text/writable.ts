/**
 * What a vocabulary can write. Nothing here knows which characters T5 lacks: every distinct character of a text is
 * written between two letters, and what the tokenizer makes of it is looked at.
 */
import type { TextCodec } from './codec';

export type Written =
  /** Comes back as it was. */
  | { readonly kind: 'kept' }
  /** White space other than one plain space: the model sees one space. */
  | { readonly kind: 'folded' }
  /** Comes back as something else of about the same meaning (`…` as `...`, a full-width letter as a plain one). */
  | { readonly kind: 'changed'; readonly to: string }
  /** The model sees an unknown token, or nothing. */
  | { readonly kind: 'lost' };

const KEPT: Written = { kind: 'kept' };
const FOLDED: Written = { kind: 'folded' };
const LOST: Written = { kind: 'lost' };

/** Answers are remembered: a text has few distinct characters, and a server sees the same ones again and again. */
export class Writability {
  readonly #codec: TextCodec;
  readonly #known = new Map<string, Written>();

  constructor(codec: TextCodec) {
    this.#codec = codec;
  }

  /** How the vocabulary writes `chars`: one character, or a short run without white space. */
  of(chars: string): Written {
    let written = this.#known.get(chars);
    if (written === undefined) {
      written = this.#try(chars);
      this.#known.set(chars, written);
    }
    return written;
  }

  #try(chars: string): Written {
    // At a word's start and inside one: a piece may exist for only one of the two.
    const inside = this.#roundTrip(`a${chars}b`);
    const apart = this.#roundTrip(`a ${chars} b`);
    if (inside === undefined || apart === undefined) return LOST;
    if (inside === `a${chars}b` && (apart === `a ${chars} b` || /^\s/.test(chars))) return KEPT;
    if (chars === ' ') return inside === 'a b' ? KEPT : LOST;
    // A combining mark joins the letter before it: another spelling of the same text.
    if (!inside.startsWith('a') && inside.normalize('NFKC') === `a${chars}b`.normalize('NFKC')) return KEPT;
    const to = inside.startsWith('a') && inside.endsWith('b') ? inside.slice(1, -1) : '';
    if (to === ' ') return FOLDED;
    return to === '' ? LOST : { kind: 'changed', to };
  }

  /** The text after encoding and decoding; undefined when a token was unknown. */
  #roundTrip(text: string): string | undefined {
    const ids = this.#codec.encodePlain(text);
    return this.#codec.unkId !== undefined && ids.includes(this.#codec.unkId) ? undefined : this.#codec.decode(ids);
  }
}
