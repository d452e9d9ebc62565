/** Tokenizers for tests: the starter's own, and one that lacks what T5's lacks. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { TextCodec } from '../../../server/text/codec';

const STARTER = join(import.meta.dirname, '../../../models/starter');

interface TokenizerJson {
  readonly normalizer: unknown;
  readonly pre_tokenizer: unknown;
  readonly model: { readonly vocab: readonly (readonly [string, number])[] };
}

export function starterJson(): TokenizerJson {
  return JSON.parse(readFileSync(join(STARTER, 'tokenizer.json'), 'utf8')) as TokenizerJson;
}

export function starterCodec(): TextCodec {
  return TextCodec.fromJson(starterJson());
}

/** How T5's own tokenizer files fold white space: as published, and as later versions of the converter write them. */
const T5_FORMS = {
  older: {
    normalizer: { type: 'Precompiled', precompiled_charsmap: '' },
    pre_tokenizer: {
      type: 'Sequence',
      pretokenizers: [{ type: 'WhitespaceSplit' }, { type: 'Metaspace', replacement: '▁', add_prefix_space: true }],
    },
  },
  newer: {
    normalizer: {
      type: 'Sequence',
      normalizers: [
        { type: 'Precompiled', precompiled_charsmap: '' },
        { type: 'Strip', strip_left: false, strip_right: true },
        { type: 'Replace', pattern: { Regex: ' {2,}' }, content: '▁' },
      ],
    },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
  },
};

/**
 * The starter's vocabulary as a web corpus without code would have left it: no piece with any of `lacking`. The slots stay,
 * under spellings that no text has, so that the ids do not move. White space is folded as in T5's own files.
 */
export function webJson(lacking = '{}<\\^~`', form: keyof typeof T5_FORMS = 'older'): object {
  const json = starterJson();
  const vocab = json.model.vocab.map(([piece, score], id) =>
    id > 2 && [...lacking].some((char) => piece.includes(char)) ? [`\ue000${id}\ue001`, -100] : [piece, score],
  );
  return { ...json, ...T5_FORMS[form], model: { ...json.model, vocab } };
}

/** A byte-level tokenizer as code models have it: nothing is unknown, white space is kept. */
export function byteJson(): object {
  const bytes = [...Array(256).keys()];
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b <= 255);
  let next = 256;
  const letters = bytes.map((b) => String.fromCodePoint(printable(b) ? b : next++));
  const vocab: Record<string, number> = { '<pad>': 0, '<s>': 1, '</s>': 2 };
  for (const [i, letter] of letters.entries()) vocab[letter] = 3 + i;
  vocab['th'] = 259;
  vocab['the'] = 260;
  const added = (id: number, content: string) => ({
    id,
    content,
    special: true,
    normalized: false,
    lstrip: false,
    rstrip: false,
    single_word: false,
  });
  return {
    version: '1.0',
    added_tokens: [added(0, '<pad>'), added(1, '<s>'), added(2, '</s>')],
    normalizer: null,
    pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: {
      type: 'RobertaProcessing',
      sep: ['</s>', 2],
      cls: ['<s>', 1],
      trim_offsets: true,
      add_prefix_space: false,
    },
    decoder: { type: 'ByteLevel', add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: 'BPE', dropout: null, unk_token: null, vocab, merges: ['t h', 'th e'] },
  };
}

export function webCodec(lacking?: string): TextCodec {
  return TextCodec.fromJson(webJson(lacking));
}
