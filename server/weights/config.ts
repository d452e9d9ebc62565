/** The architecture of a T5-family encoder-decoder, and how it is read from a Hugging Face `config.json`. */
import { join } from 'node:path';
import { say } from '../saying';
import { outputIsItsOwn, outputStored } from './checkpoint';
import { ConfigError, NotAModelError, UnsupportedModelError } from './errors';
import { outputRule } from './output';
import { errorCode, readSmall, show, TooLargeError } from './small';

export interface T5Config {
  /** `t5`, `mt5` or `umt5`, as `model_type` says. */
  readonly modelType: string;
  readonly vocabSize: number;
  readonly dModel: number;
  /** Width of one attention head. `numHeads * dKv` need not equal `dModel`. */
  readonly dKv: number;
  readonly dFf: number;
  readonly numHeads: number;
  readonly encoderLayers: number;
  readonly decoderLayers: number;
  /** `gelu` is x times the normal distribution's share below x, `gelu_new` its approximation by tanh. */
  readonly activation: 'relu' | 'gelu' | 'gelu_new' | 'silu';
  /** Gated: `wo(act(wi_0 x) * wi_1 x)`; otherwise `wo(act(wi x))`. */
  readonly gated: boolean;
  /** The output layer is `shared.weight`, and the decoder output is multiplied by `dModel ** -0.5` before it. */
  readonly tied: boolean;
  readonly layerNormEpsilon: number;
  readonly relativeBuckets: number;
  readonly relativeMaxDistance: number;
  /** `first`: the relative bias of block 0 serves all blocks (T5, mT5). `every`: each block has its own (umT5). */
  readonly positionBias: 'first' | 'every';
  readonly padId: number;
  readonly eosId: number;
  readonly decoderStartId: number;
  /** Input length the checkpoint declares (`n_positions`), if any; not a hard limit for T5. */
  readonly declaredPositions: number | undefined;
}

const MODEL_TYPES = ['t5', 'mt5', 'umt5'];

/**
 * The largest value of each size that is taken for a real one, some ten times above the largest T5 in use. What lies above
 * is a damaged or hostile file, and would only fail later, in an allocation.
 */
const LIMITS = {
  vocab_size: 1 << 24,
  d_model: 1 << 17,
  d_kv: 1 << 14,
  d_ff: 1 << 20,
  num_heads: 1 << 12,
  num_layers: 1 << 10,
  num_decoder_layers: 1 << 10,
  relative_attention_num_buckets: 1 << 12,
  relative_attention_max_distance: 1 << 20,
} as const;

/** A configuration has a few kilobytes; one with long lists of labels some hundred. */
const MAX_CONFIG_BYTES = 16 * 1024 * 1024;

type Raw = Readonly<Record<string, unknown>>;

/**
 * Reads a parsed `config.json`.
 *
 * @param json what JSON.parse gave.
 * @param has.lmHead the checkpoint has an `lm_head.weight` that is not a copy of its embedding (see output.ts).
 * @param notes gets a sentence for every rule that was applied where the file leaves a choice.
 * @throws UnsupportedModelError for another architecture; ConfigError, with the field, for anything missing or absurd.
 */
export function parseConfig(json: unknown, has: { readonly lmHead: boolean }, notes: string[] = []): T5Config {
  const raw = rawConfig(json);
  const modelType = modelTypeOf(raw);
  const dModel = size(raw, 'd_model');
  const encoderLayers = size(raw, 'num_layers');
  const relativeBuckets = size(raw, 'relative_attention_num_buckets', 32);
  const relativeMaxDistance = size(raw, 'relative_attention_max_distance', 128);
  // Half of the buckets count single positions, the rest grow by logarithms up to the distance.
  if (relativeBuckets % 2 !== 0 || relativeBuckets < 4) {
    throw bad('relative_attention_num_buckets', relativeBuckets, 'an even number from 4');
  }
  if (relativeMaxDistance <= relativeBuckets / 2) {
    throw bad('relative_attention_max_distance', relativeMaxDistance, `a number above ${relativeBuckets / 2}`);
  }
  const rule = outputRule(raw, modelType, dModel, has);
  notes.push(rule.note);
  const vocabSize = size(raw, 'vocab_size');
  const padId = tokenId(raw, 'pad_token_id', vocabSize, 0);
  return {
    modelType,
    vocabSize,
    dModel,
    dKv: size(raw, 'd_kv'),
    dFf: size(raw, 'd_ff'),
    numHeads: size(raw, 'num_heads'),
    encoderLayers,
    decoderLayers: size(raw, 'num_decoder_layers', encoderLayers),
    ...activationOf(raw, notes),
    tied: rule.tied,
    layerNormEpsilon: epsilon(raw),
    relativeBuckets,
    relativeMaxDistance,
    positionBias: modelType === 'umt5' ? 'every' : 'first',
    padId,
    eosId: tokenId(raw, 'eos_token_id', vocabSize, 1),
    decoderStartId: tokenId(raw, 'decoder_start_token_id', vocabSize, padId),
    declaredPositions: declaredPositions(raw),
  };
}

/**
 * Reads the configuration of a model folder, original or pre-quantized, and looks at its weights as far as the rule for
 * the output layer needs it (for a checkpoint with an `lm_head.weight` of its own: it is compared with the embedding).
 *
 * @throws NotAModelError without a readable config.json, and what `parseConfig` and the checkpoint reader throw.
 */
export async function readConfig(dir: string, notes: string[] = []): Promise<T5Config> {
  const raw = await readRawConfig(dir);
  const stored = await outputStored(dir);
  // A weight file of ours has the output layer only where the rule, applied when it was made, asked for one.
  if (stored !== undefined) {
    notes.push(
      stored
        ? 'The weight file has an output layer of its own.'
        : 'The embedding is the output layer, with the scale d_model ** -0.5.',
    );
    return { ...parseConfig(raw, { lmHead: stored }), tied: !stored };
  }
  modelTypeOf(rawConfig(raw));
  return parseConfig(raw, { lmHead: await outputIsItsOwn(dir) }, notes);
}

/**
 * Checks a T5Config that was stored as JSON, before anything is computed from its sizes.
 *
 * @throws ConfigError with the field.
 */
export function checkStoredConfig(json: unknown): T5Config {
  const c = rawConfig(json);
  const sizes = {
    vocab_size: c['vocabSize'],
    d_model: c['dModel'],
    d_kv: c['dKv'],
    d_ff: c['dFf'],
    num_heads: c['numHeads'],
    num_layers: c['encoderLayers'],
    num_decoder_layers: c['decoderLayers'],
    relative_attention_num_buckets: c['relativeBuckets'],
    relative_attention_max_distance: c['relativeMaxDistance'],
  } as const;
  for (const field of Object.keys(sizes) as (keyof typeof sizes)[]) size(sizes, field);
  for (const field of ['gated', 'tied']) {
    if (typeof c[field] !== 'boolean') throw bad(field, c[field], 'true or false');
  }
  // JSON has no undefined: a field that may be absent comes back as one that is.
  return { ...c, declaredPositions: c['declaredPositions'] } as unknown as T5Config;
}

/** The parsed `config.json` of a folder, unchecked. */
export async function readRawConfig(dir: string): Promise<unknown> {
  const path = join(dir, 'config.json');
  let text: string;
  try {
    text = (await readSmall(path, MAX_CONFIG_BYTES)).toString('utf8');
  } catch (error) {
    if (error instanceof TooLargeError)
      throw new NotAModelError(say('{0} is no configuration: {1}. Download it again.', path, error.message));
    if (errorCode(error) === 'ENOENT' || errorCode(error) === 'ENOTDIR') {
      throw new NotAModelError(
        say('{0} is no model folder: it has no config.json. Give the folder that holds it.', dir),
      );
    }
    throw new NotAModelError(
      say('{0} cannot be read ({1}). Check its permissions.', path, errorCode(error) ?? 'unknown error'),
    );
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new NotAModelError(say('{0} is not valid JSON. Download it again.', path));
  }
}

/** A `config.json` as an object; everything else is refused. */
export function rawConfig(json: unknown): Raw {
  if (typeof json !== 'object' || json === null || Array.isArray(json)) {
    throw new ConfigError('', 'config.json is no JSON object; download it again.');
  }
  return json as Raw;
}

/** `t5`, `mt5` or `umt5`; another architecture is refused with its name. */
export function modelTypeOf(raw: Raw): string {
  const architectures = Array.isArray(raw['architectures']) ? raw['architectures'] : [];
  const architecture = typeof architectures[0] === 'string' ? architectures[0] : undefined;
  const named = raw['model_type'] ?? architecture?.match(/^(UMT5|MT5|T5)(?=[A-Z])/)?.[1]?.toLowerCase();
  const type = typeof named === 'string' ? named : undefined;
  const runs = say(
    'This program runs T5 encoder-decoders (Flan-UL2, Flan-T5, UL2, T5, mT5, umT5, CodeT5); choose one of them.',
  );
  if (type === undefined || !MODEL_TYPES.includes(type)) {
    throw new UnsupportedModelError(
      say('This is a model of type {0}. {1}', show(named ?? architecture ?? 'unknown'), runs),
    );
  }
  if (architecture !== undefined && /Encoder(Model)?$|Classification$|QuestionAnswering$/.test(architecture)) {
    throw new UnsupportedModelError(say('This is a {0}, which generates no text. {1}', show(architecture), runs));
  }
  if (raw['is_encoder_decoder'] === false) {
    throw new UnsupportedModelError(
      say('This {0} model has no decoder (is_encoder_decoder is false). {1}', type, runs),
    );
  }
  return type;
}

function bad(field: string, value: unknown, wanted: string): ConfigError {
  const is = value === undefined || value === null ? 'is missing' : `is ${show(value)}`;
  return new ConfigError(
    field,
    `config.json: ${field} ${is}, but must be ${wanted}. Download it again, or correct it.`,
  );
}

function size(raw: Raw, field: keyof typeof LIMITS, absent?: number): number {
  const value = raw[field] ?? absent;
  const limit = LIMITS[field];
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > limit) {
    throw bad(field, value, `a whole number from 1 to ${limit}`);
  }
  return value;
}

/** `eos_token_id` may be a list; its first id is the end token that a T5 model writes. */
function tokenId(raw: Raw, field: string, vocabSize: number, absent: number): number {
  const given = raw[field];
  const value: unknown = (Array.isArray(given) ? given[0] : given) ?? absent;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= vocabSize) {
    throw bad(field, value, `a token of the vocabulary, 0 to ${vocabSize - 1}`);
  }
  return value;
}

function epsilon(raw: Raw): number {
  const value = raw['layer_norm_epsilon'] ?? 1e-6;
  if (typeof value !== 'number' || !(value > 0 && value < 1)) {
    throw bad('layer_norm_epsilon', value, 'a number between 0 and 1');
  }
  return value;
}

function declaredPositions(raw: Raw): number | undefined {
  const value = raw['n_positions'] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 1 || value > 1 << 24) {
    throw bad('n_positions', value, 'a whole number from 1');
  }
  return value;
}

/** Names that transformers gives the same function. */
const ACTIVATIONS: Readonly<Record<string, T5Config['activation']>> = {
  relu: 'relu',
  gelu: 'gelu',
  gelu_python: 'gelu',
  gelu_new: 'gelu_new',
  gelu_pytorch_tanh: 'gelu_new',
  silu: 'silu',
  swish: 'silu',
};

/**
 * `feed_forward_proj` is `ACT` or `gated-ACT`; `gated-gelu` means the tanh approximation. transformers derives
 * `dense_act_fn` and `is_gated_act` from it, and lets them win where the file has them.
 */
function activationOf(raw: Raw, notes: string[]): Pick<T5Config, 'activation' | 'gated'> {
  const projection = raw['feed_forward_proj'] ?? undefined;
  if (projection !== undefined && typeof projection !== 'string') {
    throw bad('feed_forward_proj', projection, 'relu, gated-gelu or gated-silu');
  }
  const written = projection ?? 'relu';
  const parts = written.split('-');
  if (parts.length > 2 || (parts.length === 2 && parts[0] !== 'gated')) {
    throw bad('feed_forward_proj', projection, 'relu, gated-gelu or gated-silu');
  }
  const derived = written === 'gated-gelu' ? 'gelu_new' : (parts.at(-1) ?? '');
  const gated = raw['is_gated_act'] ?? parts.length === 2;
  if (typeof gated !== 'boolean') throw bad('is_gated_act', gated, 'true or false');
  const named = raw['dense_act_fn'] ?? derived;
  const activation = typeof named === 'string' && Object.hasOwn(ACTIVATIONS, named) ? ACTIVATIONS[named] : undefined;
  if (activation === undefined) {
    const field = raw['dense_act_fn'] === undefined ? 'feed_forward_proj' : 'dense_act_fn';
    throw bad(
      field,
      raw[field],
      'one of relu, gelu, gelu_new and silu, the activations of the T5 family that are built in',
    );
  }
  if (projection !== undefined && (activation !== ACTIVATIONS[derived] || gated !== (parts.length === 2))) {
    notes.push(`dense_act_fn and is_gated_act contradict feed_forward_proj ${show(projection)}: they were used.`);
  }
  return { activation, gated };
}
