/**
 * Decoding while tokens arrive. What is shown is only ever appended to: a word appears when the next one starts (or at
 * the end), so that no half word, half character or half stand-in is seen, and the pieces joined are exactly the answer.
 */
import type { TextCodec } from './codec';

/** A run without white space this long (a path, a language without spaces) is shown while it grows. */
const LONG_RUN = 48;
/** Of such a run this much stays back: longer than any stand-in, and than the bytes of any character. */
const HELD = 16;

export class StreamDecoder {
  readonly #codec: TextCodec;
  readonly #restore: (text: string) => string;
  readonly #ids: number[] = [];
  #shown = '';

  /** @param restore maps model text to user text, word by word (see `Written.restore`) */
  constructor(codec: TextCodec, restore: (text: string) => string = (text) => text) {
    this.#codec = codec;
    this.#restore = restore;
  }

  /** What was returned so far, in all. */
  get shown(): string {
    return this.#shown;
  }

  /** Adds tokens; returns the text to append, which may be empty. */
  push(ids: readonly number[]): string {
    for (const id of ids) this.#ids.push(id);
    const decoded = this.#codec.decode(this.#ids).trimStart();
    return this.#show(this.#restore(decoded.slice(0, this.#safe(decoded))).trim());
  }

  /** The rest of the text. */
  end(): string {
    // A character whose last bytes never came, because the answer was cut inside it, is no character.
    const decoded = this.#codec.decode(this.#ids).replace(/\ufffd+$/, '');
    return this.#show(this.#restore(decoded).trim());
  }

  #show(text: string): string {
    if (!text.startsWith(this.#shown)) return '';
    const append = text.slice(this.#shown.length);
    this.#shown = text;
    return append;
  }

  /** Length of the part of `decoded` that later tokens cannot change. */
  #safe(decoded: string): number {
    const run = /\S*\s*$/.exec(decoded)?.[0] ?? '';
    const before = decoded.length - run.length;
    const word = run.trimEnd();
    if (word.length < run.length) return before + word.length;
    if (word.length < LONG_RUN) return before;
    return this.#cutInside(decoded, before);
  }

  /** Inside a long run: where neither a character nor a stand-in is cut, at least HELD characters from the end. */
  #cutInside(decoded: string, least: number): number {
    const whole = this.#restore(decoded);
    for (let cut = decoded.length - HELD; cut > least; cut--) {
      if (/[\udc00-\udfff]/.test(decoded.charAt(cut))) continue;
      const shown = this.#restore(decoded.slice(0, cut));
      // A stand-in that crosses the cut would be mapped in the whole and not in the part.
      if (whole === shown + this.#restore(decoded.slice(cut))) return cut;
    }
    return least;
  }
}
