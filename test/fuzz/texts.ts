/** The readers of texts: config.json, and the files that tokenizers are made from. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TextCodec } from '../../server/text/codec';
import { checkStoredConfig, parseConfig, type T5Config } from '../../server/weights/config';
import { tensorsOf } from '../../server/weights/layout';
import { SMALL } from '../unit/weights/checkpoints';
import { must, type Target } from './target';

const NUMBERS = [
  '-1',
  '0',
  '0.5',
  '1e999',
  '-0',
  '9007199254740993',
  '18446744073709551616',
  '1000000000000000000',
  '1e-320',
];
const JSON_WORDS = [
  'null',
  '[]',
  '{}',
  '"x"',
  'true',
  'false',
  ',',
  ':',
  '}',
  ']',
  '"',
  '"__proto__":{},',
  '[['.repeat(300),
];

const configs = [
  SMALL,
  { ...SMALL, feed_forward_proj: 'relu', tie_word_embeddings: false, num_decoder_layers: undefined },
  {
    ...SMALL,
    model_type: 'umt5',
    dense_act_fn: 'gelu_new',
    is_gated_act: true,
    eos_token_id: [1, 2],
    scale_decoder_outputs: true,
  },
].map((config) => Buffer.from(JSON.stringify(config)));

export const config: Target = {
  name: 'config.json',
  words: [...NUMBERS, ...JSON_WORDS, '"gated-gelu"', '"gelu"', '"mt5"', '"bert"', '"d_model"', '"toString"'],
  damage(mutator) {
    const of = mutator.below(configs.length);
    return { bytes: mutator.json(configs[of] ?? Buffer.from('{}')), of };
  },
  async read({ bytes }) {
    let json: unknown;
    try {
      json = JSON.parse(bytes.toString('utf8'));
    } catch {
      return; // Said by the reader of the file, which has a test of its own.
    }
    for (const lmHead of [false, true]) {
      const parsed = parseConfig(json, { lmHead });
      agrees(parsed, json as Record<string, unknown>);
      // What was read can be stored and read again, and lays out in bounded memory.
      const stored = checkStoredConfig(JSON.parse(JSON.stringify(parsed)));
      must(JSON.stringify(stored) === JSON.stringify(parsed), 'it is stored as something else');
      const specs = tensorsOf(parsed);
      must(specs.length < 50_000, `${specs.length} tensors`);
      for (const { shape } of specs)
        for (const n of shape) must(Number.isSafeInteger(n) && n > 0, `a dimension of ${n}`);
    }
  },
};

function agrees(parsed: T5Config, json: Record<string, unknown>): void {
  const sizes = [
    ['d_model', parsed.dModel],
    ['d_kv', parsed.dKv],
    ['d_ff', parsed.dFf],
    ['num_heads', parsed.numHeads],
    ['num_layers', parsed.encoderLayers],
    ['vocab_size', parsed.vocabSize],
  ] as const;
  for (const [field, value] of sizes) must(json[field] === value, `${field} is ${value}`);
  for (const id of [parsed.padId, parsed.eosId, parsed.decoderStartId])
    must(id >= 0 && id < parsed.vocabSize, `token ${id}`);
}

const tokenizers = join(process.cwd(), 'test', 'fixtures', 'tokenizers');
/** A folder's name and which of its files is damaged. */
const TOKENIZER_FILES = [
  { from: 'codet5', file: 'vocab.json', text: true },
  { from: 'codet5', file: 'merges.txt', text: true },
  { from: 'codet5', file: 'special_tokens_map.json', text: true },
  { from: 'codet5', file: 'tokenizer_config.json', text: true },
  { from: 'mt5', file: 'spiece.model', text: false },
  { from: 'json', file: 'tokenizer.json', text: true },
] as const;

/** A tokenizer of a few pieces, in the form of T5's own `tokenizer.json`. */
function tokenizerJson(): object {
  const pieces = [
    '<pad>',
    '</s>',
    '<unk>',
    '▁',
    'a',
    'b',
    'c',
    'd',
    'e',
    '▁a',
    'ab',
    'de',
    '▁the',
    't',
    'h',
    '<extra_id_0>',
  ];
  const added = (id: number, content: string) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [added(0, '<pad>'), added(1, '</s>'), added(2, '<unk>'), added(15, '<extra_id_0>')],
    normalizer: { type: 'Sequence', normalizers: [{ type: 'Strip', strip_left: false, strip_right: true }] },
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A', type_id: 0 } }, { SpecialToken: { id: '</s>', type_id: 0 } }],
      pair: [],
      special_tokens: { '</s>': { id: '</s>', ids: [1], tokens: ['</s>'] } },
    },
    decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    model: { type: 'Unigram', unk_id: 2, vocab: pieces.map((piece, i) => [piece, -i]), byte_fallback: false },
  };
}

/** The files of tokenizers, in a folder each, on the disk. */
export function tokenizerTarget(): Target & { dispose(): void } {
  const folder = mkdtempSync(join(tmpdir(), 'flan-fuzz-tokenizers-'));
  for (const name of ['codet5', 'mt5']) cpSync(join(tokenizers, name), join(folder, name), { recursive: true });
  cpSync(join(tokenizers, 'mt5'), join(folder, 'json'), { recursive: true });
  rmSync(join(folder, 'json', 'spiece.model'));
  writeFileSync(join(folder, 'json', 'tokenizer.json'), JSON.stringify(tokenizerJson()));
  const originals = TOKENIZER_FILES.map(({ from, file }) => readFileSync(join(folder, from, file)));
  return {
    name: 'files of tokenizers',
    words: [
      ...NUMBERS,
      ...JSON_WORDS,
      '▁',
      '"▁"',
      '\ud800',
      '\\ud800',
      '<unk>',
      '"type":"BPE",',
      '"Precompiled"',
      '\n\n',
      ' ',
    ],
    damage(mutator) {
      const of = mutator.below(TOKENIZER_FILES.length);
      const whole = originals[of] ?? Buffer.from('{}');
      if (mutator.below(8) === 0) return { bytes: mutator.cut(whole), of };
      const text = TOKENIZER_FILES[of]?.text ?? true;
      return { bytes: text ? mutator.text(whole) : mutator.binary(whole, [{ from: 0, to: whole.length }]), of };
    },
    async read({ bytes, of }) {
      const { from, file } = TOKENIZER_FILES[of] ?? TOKENIZER_FILES[0];
      const path = join(folder, from, file);
      writeFileSync(path, bytes);
      try {
        const codec = await TextCodec.open(join(folder, from));
        const ids = codec.encode('the a b, décor { }\n\tfor (;;) end');
        for (const id of ids) must(Number.isSafeInteger(id) && id >= 0, `the id ${id}`);
        must(typeof codec.decode(ids) === 'string', 'decodes to something that is no text');
      } finally {
        writeFileSync(path, originals[of] ?? '');
      }
    },
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  };
}
