/**
 * The `Precompiled` normalizer of a tokenizer.json, as the library that wrote the file applies it: grapheme by grapheme
 * where those are short, and with the shortest entry of the table. The JavaScript library has only an approximation of the
 * table, without looking at it.
 */
import { Charsmap } from './sentencepiece/charsmap';

/** Bytes from which a grapheme is looked up character by character. */
const LONG_GRAPHEME = 6;

export class Precompiled {
  readonly #charsmap: Charsmap;
  readonly #encoder = new TextEncoder();
  readonly #segmenter = new Intl.Segmenter('und', { granularity: 'grapheme' });
  /** What becomes of each ASCII character, which is nearly all text. */
  readonly #ascii: readonly string[];

  /** @throws RangeError for a damaged table */
  constructor(charsmap: Charsmap) {
    this.#charsmap = charsmap;
    this.#ascii = Array.from({ length: 128 }, (_, code) => {
      const char = String.fromCharCode(code);
      return this.#look(char) ?? char;
    });
  }

  normalize(text: string): string {
    // A carriage return and a line feed are one grapheme; anything else of ASCII is one by itself.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: all of ASCII is meant.
    if (/^[\x00-\x0c\x0e-\x7f]*$/.test(text)) {
      return Array.from(text, (char) => this.#ascii[char.charCodeAt(0)]).join('');
    }
    let normalized = '';
    for (const { segment } of this.#segmenter.segment(text)) {
      const whole = this.#encoder.encode(segment).length < LONG_GRAPHEME ? this.#look(segment) : undefined;
      normalized += whole ?? Array.from(segment, (char) => this.#look(char) ?? char).join('');
    }
    return normalized;
  }

  #look(chunk: string): string | undefined {
    return chunk === '\0' ? undefined : this.#charsmap.shortest(this.#encoder.encode(chunk))?.text;
  }
}

type Config = Readonly<Record<string, unknown>>;

/** Anything of the library that normalizes; `normalizers` is what a sequence is made of. */
export interface LibraryNormalizer {
  normalize(text: string): string;
  readonly normalizers?: readonly (LibraryNormalizer | null)[];
}

/**
 * Gives the library's normalizer the exact table, wherever the file has one.
 * @param json the normalizer of the tokenizer.json that `normalizer` was made from
 * @throws RangeError for a damaged table
 */
export function useTable(normalizer: LibraryNormalizer | null, json: unknown): void {
  if (normalizer === null || typeof json !== 'object' || json === null) return;
  const { type, precompiled_charsmap: table, normalizers } = json as Config;
  if (type === 'Precompiled' && typeof table === 'string' && table !== '') {
    const exact = new Precompiled(new Charsmap(Buffer.from(table, 'base64')));
    normalizer.normalize = (text) => exact.normalize(text);
  }
  if (type !== 'Sequence' || !Array.isArray(normalizers)) return;
  for (const [i, part] of normalizers.entries()) useTable(normalizer.normalizers?.[i] ?? null, part);
}
