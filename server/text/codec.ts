/** The model's own tokenizer, read from its folder: text to ids and back. */

import { show } from '../weights/small';
import type { TokenizerBackend } from './backend';
import { openTokenizer, TokenizerError } from './folder';
import { LibraryBackend } from './library';

export { TokenizerError } from './folder';

/**
 * Text is encoded word by word, each with the white space before it: the library builds one lattice of all it is given,
 * passes its tokens as arguments of one call (which overflows the stack at about a hundred thousand), and sums scores over
 * the whole of it, so that rounding decides between splits that are tied. The reference implementation splits words first.
 * The same words come again and again, so they are remembered. Only ASCII white
 * space is sure to be white space for all, but for the vertical tab: T5's table of normalizations removes it.
 */
const WORD = /[ \t\n\f\r]*[^ \t\n\f\r]{1,32768}|[ \t\n\f\r]+$/gu;
/** For a tokenizer to which white space at a cut matters: one call for all but the longest texts. */
const BLOCK = /[\s\S]{1,32768}/gu;
/** Words remembered at most, and the longest worth it: some megabytes. */
const REMEMBERED_WORDS = 50_000;
const REMEMBERED_CHARS = 64;
/** Why cutting before white space is right for a tokenizer is tried on this text, not assumed. */
const CUT_PROBE = ['for (i = 0;', ' i < n;', '\n  total += a[i]', '\tdone.'];

export class TextCodec {
  readonly #backend: TokenizerBackend;
  readonly #cuttable: boolean;
  readonly #words = new Map<string, readonly number[]>();
  /** Id of the unknown token; undefined where the vocabulary covers every byte. */
  readonly unkId: number | undefined;
  /** Spellings of the special tokens (`</s>`, `<extra_id_0>` …), which text can contain by accident. */
  readonly specialTokens: readonly string[];
  readonly #specialIds: ReadonlySet<number>;

  constructor(backend: TokenizerBackend) {
    this.#backend = backend;
    this.unkId = backend.unkId;
    this.specialTokens = backend.special.map(({ content }) => content);
    this.#specialIds = new Set(backend.special.map(({ id }) => id));
    const whole = backend.encode(CUT_PROBE.join(''), false);
    const words = CUT_PROBE.flatMap((piece) => backend.encode(piece, false));
    this.#cuttable = backend.wordwise && same(whole, words);
  }

  /**
   * @param tokenizerJson content of `tokenizer.json`
   * @param tokenizerConfig content of `tokenizer_config.json`
   * @throws TokenizerError when the library cannot use it
   */
  static fromJson(tokenizerJson: object, tokenizerConfig: object = {}): TextCodec {
    try {
      return new TextCodec(new LibraryBackend(tokenizerJson, tokenizerConfig));
    } catch (error) {
      throw unusable('tokenizer.json', error);
    }
  }

  /**
   * Reads the tokenizer of a model folder, whichever files it has (see folder.ts).
   * @throws TokenizerError when they are missing or are not what they should be
   */
  static async open(dir: string): Promise<TextCodec> {
    const backend = await openTokenizer(dir);
    try {
      const codec = new TextCodec(backend);
      codec.#tryOut();
      return codec;
    } catch (error) {
      throw unusable(dir, error);
    }
  }

  /** Damage that a tokenizer's reader does not see shows at the first text. */
  #tryOut(): void {
    const ids = this.encode(CUT_PROBE.join(''));
    const wrong = ids.find((id) => !Number.isSafeInteger(id) || id < 0);
    if (wrong !== undefined) throw new TypeError(`it gives ${wrong} for a token`);
    this.decode(ids);
  }

  /** Ids with what the model's own tokenizer adds: for T5, the end token. Any length of text. */
  encode(text: string): number[] {
    const frame = this.#backend.encode('', true);
    // T5 frames are `A </s>`, RoBERTa ones `<s> A </s>`: the end token last, anything else first.
    return [...frame.slice(0, -1), ...this.encodePlain(text), ...frame.slice(-1)];
  }

  /** Ids of the text alone, nothing added. */
  encodePlain(text: string): number[] {
    const ids: number[] = [];
    for (const [word] of text.matchAll(this.#cuttable ? WORD : BLOCK)) for (const id of this.#word(word)) ids.push(id);
    return ids;
  }

  /** Text of the ids; special tokens are left out, nothing is cleaned up. */
  decode(ids: ArrayLike<number>): string {
    if (ids.length === 0) return '';
    return this.#backend.decode(Array.from(ids));
  }

  /** The vocabulary's spelling of one token (`▁the`), for people who look at single tokens. */
  piece(id: number): string {
    return this.#backend.piece(id) ?? `<${id}>`;
  }

  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
  }

  #word(word: string): readonly number[] {
    let ids = this.#words.get(word);
    if (ids !== undefined) return ids;
    ids = this.#backend.encode(word, false);
    if (word.length <= REMEMBERED_CHARS) {
      if (this.#words.size >= REMEMBERED_WORDS) this.#words.clear();
      this.#words.set(word, ids);
    }
    return ids;
  }
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

function unusable(what: string, error: unknown): TokenizerError {
  const reason = show(error instanceof Error ? error.message : String(error)).replace(/\.$/, '');
  return new TokenizerError(`The tokenizer of ${what} cannot be used: ${reason}. Download the model's files again.`, {
    cause: error,
  });
}
