/** The model's own tokenizer, read from its folder: text to ids and back. */
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { FlanError } from '../errors';

/** The folder's tokenizer is missing, broken, or of a kind that cannot be used. */
export class TokenizerError extends FlanError {
  constructor(message: string, options?: ErrorOptions) {
    super('tokenizer', message, options);
  }
}

/**
 * Text is encoded word by word, each with the white space before it: the library builds one lattice of all it is given,
 * passes its tokens as arguments of one call (which overflows the stack at about a hundred thousand), and sums scores over
 * the whole of it, so that rounding decides between splits that are tied. The reference implementation splits words first.
 * The same words come again and again, so they are remembered. Only ASCII white space is sure to be white space for all.
 */
const WORD = /[ \t-\r]*[^ \t-\r]{1,32768}|[ \t-\r]+$/gu;
/** For a tokenizer to which white space at a cut matters: one call for all but the longest texts. */
const BLOCK = /[\s\S]{1,32768}/gu;
/** Words remembered at most, and the longest worth it: some megabytes. */
const REMEMBERED_WORDS = 50_000;
const REMEMBERED_CHARS = 64;
/** Why cutting before white space is right for a tokenizer is tried on this text, not assumed. */
const CUT_PROBE = ['for (i = 0;', ' i < n;', '\n  total += a[i]', '\tdone.'];

export class TextCodec {
  readonly #tokenizer: Tokenizer;
  readonly #cuttable: boolean;
  readonly #words = new Map<string, readonly number[]>();
  /** Id of the unknown token; undefined where the vocabulary covers every byte. */
  readonly unkId: number | undefined;
  /** Spellings of the special tokens (`</s>`, `<extra_id_0>` …), which text can contain by accident. */
  readonly specialTokens: readonly string[];
  readonly #specialIds: ReadonlySet<number>;

  /**
   * @param tokenizerJson content of `tokenizer.json`
   * @param tokenizerConfig content of `tokenizer_config.json`
   * @throws TokenizerError when the library cannot use it
   */
  constructor(tokenizerJson: object, tokenizerConfig: object = {}) {
    try {
      this.#tokenizer = new Tokenizer(tokenizerJson, tokenizerConfig);
    } catch (error) {
      throw new TokenizerError(`The tokenizer cannot be used: ${messageOf(error)}. Download the model's files again.`, {
        cause: error,
      });
    }
    this.unkId = this.#tokenizer.model?.unk_token_id;
    const special = [...this.#tokenizer.get_added_tokens_decoder().values()].filter((token) => token.special);
    this.specialTokens = special.map((token) => token.content);
    this.#specialIds = new Set(special.map((token) => token.id));
    const whole = this.#encode(CUT_PROBE.join(''), false);
    this.#cuttable = same(
      whole,
      CUT_PROBE.flatMap((piece) => this.#encode(piece, false)),
    );
  }

  /**
   * Reads `tokenizer.json` and, where there is one, `tokenizer_config.json`.
   * @throws TokenizerError when the first is missing or either is not what it should be
   */
  static async open(dir: string): Promise<TextCodec> {
    const tokenizer = await readObject(join(dir, 'tokenizer.json'), true);
    const config = await readObject(join(dir, 'tokenizer_config.json'), false);
    const model = (tokenizer as { model?: { vocab?: unknown } }).model;
    if (typeof model?.vocab !== 'object' || model.vocab === null) {
      throw new TokenizerError(`${basename(dir)}/tokenizer.json has no vocabulary. Download the model's files again.`);
    }
    return new TextCodec(tokenizer, config);
  }

  /** Ids with what the model's own tokenizer adds: for T5, the end token. Any length of text. */
  encode(text: string): number[] {
    const frame = this.#encode('', true);
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
    return this.#tokenizer.decode(Array.from(ids), {
      skip_special_tokens: true,
      clean_up_tokenization_spaces: false,
    });
  }

  /** The vocabulary's spelling of one token (`▁the`), for people who look at single tokens. */
  piece(id: number): string {
    return this.#tokenizer.id_to_token(id) ?? `<${id}>`;
  }

  isSpecial(id: number): boolean {
    return this.#specialIds.has(id);
  }

  #word(word: string): readonly number[] {
    let ids = this.#words.get(word);
    if (ids !== undefined) return ids;
    ids = this.#encode(word, false);
    if (word.length <= REMEMBERED_CHARS) {
      if (this.#words.size >= REMEMBERED_WORDS) this.#words.clear();
      this.#words.set(word, ids);
    }
    return ids;
  }

  #encode(text: string, special: boolean): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: special }).ids;
  }
}

function same(a: readonly number[], b: readonly number[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

async function readObject(file: string, required: boolean): Promise<object> {
  let text: string;
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (!required && (error as NodeJS.ErrnoException).code === 'ENOENT') return {};
    const old = existsSync(join(dirname(file), 'spiece.model'));
    const remedy = old
      ? 'Its spiece.model alone is not enough: load the folder with AutoTokenizer of transformers, and save_pretrained() writes the missing file.'
      : 'A model folder needs its tokenizer.json: download the model again.';
    throw new TokenizerError(`Cannot read ${file}: ${messageOf(error)}. ${remedy}`, { cause: error });
  }
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value;
  } catch (error) {
    throw new TokenizerError(`${file} is not valid JSON. Download it again.`, { cause: error });
  }
  throw new TokenizerError(`${file} is not a JSON object. Download it again.`);
}

function messageOf(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).replace(/\.$/, '');
}
