/**
 * The byte-level tokenizer of CodeT5 folders, which have `vocab.json` and `merges.txt` (RoBERTa's two files) in place of a
 * `tokenizer.json`: both, and the special tokens of the files beside them, in the form that the tokenizer library reads.
 */

/** The parsed files of a folder; all but the first two may be missing. */
export interface ByteLevelFiles {
  readonly vocab: object;
  readonly merges: string;
  /** `special_tokens_map.json` */
  readonly specialTokens: object;
  /** `added_tokens.json`: spelling to id. */
  readonly addedTokens: object;
  /** `tokenizer_config.json` */
  readonly config: object;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special: boolean;
  readonly normalized: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly single_word: boolean;
}

/** Roles of special tokens, in the order in which RoBERTa's tokenizer adds them, with its own spellings. */
const ROLES = {
  bos_token: '<s>',
  eos_token: '</s>',
  unk_token: '<unk>',
  sep_token: '</s>',
  pad_token: '<pad>',
  cls_token: '<s>',
  mask_token: '<mask>',
} as const;

type Fields = Readonly<Record<string, unknown>>;

/** @throws RangeError with a clause that says which file is wrong and how */
export function byteLevelTokenizer(files: ByteLevelFiles): object {
  const vocab = ids(files.vocab as Fields, 'vocab.json');
  const config = files.config as Fields;
  const added = new Tokens(vocab, ids(files.addedTokens as Fields, 'added_tokens.json'));
  const named: Fields = { ...config, ...(files.specialTokens as Fields) };
  const roles = Object.fromEntries(
    Object.entries(ROLES).map(([role, absent]) => {
      // A mask takes the space before it: RoBERTa's own rule where the files do not say.
      const token = tokenOf(named[role]) ?? { content: absent, ...(role === 'mask_token' && { lstrip: true }) };
      return [role, added.add(token, true)];
    }),
  );
  for (const [id, token] of Object.entries((config['added_tokens_decoder'] ?? {}) as Fields)) {
    const read = tokenOf(token);
    if (read !== undefined) added.add(read, (token as Fields)['special'] === true, Number(id));
  }
  const more = named['additional_special_tokens'];
  for (const token of Array.isArray(more) ? more : []) {
    const read = tokenOf(token);
    if (read !== undefined) added.add(read, true);
  }
  added.addRest();
  const pair = (role: keyof typeof ROLES) => [roles[role]?.content, roles[role]?.id];
  const space = config['add_prefix_space'] === true;
  return {
    version: '1.0',
    added_tokens: added.tokens,
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: space, trim_offsets: true, use_regex: true },
    post_processor: {
      type: 'RobertaProcessing',
      sep: pair('sep_token'),
      cls: pair('cls_token'),
      trim_offsets: true,
      add_prefix_space: space,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: 'BPE',
      dropout: null,
      // Every byte has a token: nothing is unknown.
      unk_token: null,
      continuing_subword_prefix: '',
      end_of_word_suffix: '',
      fuse_unk: false,
      vocab: Object.fromEntries(vocab),
      merges: pairs(files.merges, vocab),
    },
  };
}

/** The added tokens so far; one that no file gives an id comes behind all others. */
class Tokens {
  readonly tokens: AddedToken[] = [];
  readonly #vocab: ReadonlyMap<string, number>;
  readonly #given: ReadonlyMap<string, number>;
  #next: number;

  constructor(vocab: ReadonlyMap<string, number>, given: ReadonlyMap<string, number>) {
    this.#vocab = vocab;
    this.#given = given;
    this.#next = [...vocab.values(), ...given.values()].reduce((most, id) => Math.max(most, id + 1), 0);
  }

  add(token: Partial<AddedToken> & Pick<AddedToken, 'content'>, special: boolean, id?: number): AddedToken {
    const known = this.tokens.find(({ content }) => content === token.content);
    if (known !== undefined) return known;
    const found = id ?? this.#given.get(token.content) ?? this.#vocab.get(token.content) ?? this.#next++;
    const whole = { normalized: false, lstrip: false, rstrip: false, single_word: false, ...token, special, id: found };
    this.tokens.push(whole);
    return whole;
  }

  /** What added_tokens.json has and no other file names: tokens of their own, but not special ones. */
  addRest(): void {
    for (const content of this.#given.keys()) this.add({ content }, false);
  }
}

/** A token as files write it: its spelling alone, or an object with it. */
function tokenOf(value: unknown): (Partial<AddedToken> & Pick<AddedToken, 'content'>) | undefined {
  if (typeof value === 'string') return { content: value };
  if (typeof value !== 'object' || value === null) return undefined;
  const { content, lstrip, rstrip, single_word: singleWord } = value as Fields;
  if (typeof content !== 'string') return undefined;
  return { content, lstrip: lstrip === true, rstrip: rstrip === true, single_word: singleWord === true };
}

function ids(fields: Fields, file: string): Map<string, number> {
  const map = new Map<string, number>();
  for (const [token, id] of Object.entries(fields)) {
    if (typeof id !== 'number' || !Number.isInteger(id) || id < 0 || id > 1 << 24) {
      throw new RangeError(`${file} has no id for ${JSON.stringify(token).slice(0, 40)}`);
    }
    map.set(token, id);
  }
  return map;
}

/** The merges, best first. Both parts and what they become must be in the vocabulary. */
function pairs(text: string, vocab: ReadonlyMap<string, number>): [string, string][] {
  const lines = text.split(/\r?\n/);
  // The first line may name a version; `#` is a token like any other in all further ones.
  if (lines[0]?.startsWith('#version')) lines.shift();
  const merges: [string, string][] = [];
  for (const line of lines) {
    if (line === '') continue;
    const [first, second, ...others] = line.split(' ');
    if (first === undefined || second === undefined || others.length > 0 || !vocab.has(first + second)) {
      throw new RangeError(`merges.txt and vocab.json do not belong together (${JSON.stringify(line).slice(0, 40)})`);
    }
    merges.push([first, second]);
  }
  return merges;
}
