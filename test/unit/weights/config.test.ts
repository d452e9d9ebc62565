import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig, readConfig } from '../../../server/weights/config';
import { ConfigError, NotAModelError, UnsupportedModelError } from '../../../server/weights/errors';
import { tensorsOf } from '../../../server/weights/layout';
import { floats, rejection, SMALL, temporaryFolder, writeCheckpoint } from './support';

const none = { lmHead: false };
const own = { lmHead: true };
const parse = (change: Record<string, unknown>, has = none, notes: string[] = []) =>
  parseConfig({ ...SMALL, ...change }, has, notes);

describe('the forms of the T5 family', () => {
  it('reads the config.json of flan-ul2', () => {
    const json = {
      architectures: ['T5ForConditionalGeneration'],
      d_ff: 16384,
      d_kv: 256,
      d_model: 4096,
      decoder_start_token_id: 0,
      dropout_rate: 0.1,
      eos_token_id: 1,
      feed_forward_proj: 'gated-silu',
      initializer_factor: 1.0,
      is_encoder_decoder: true,
      is_gated_act: true,
      layer_norm_epsilon: 1e-6,
      model_type: 't5',
      n_positions: 512,
      num_decoder_layers: 32,
      num_heads: 16,
      num_layers: 32,
      output_past: true,
      pad_token_id: 0,
      relative_attention_max_distance: 128,
      relative_attention_num_buckets: 32,
      torch_dtype: 'bfloat16',
      use_cache: true,
      vocab_size: 32128,
    };
    const config = parseConfig(json, none);
    expect(config).toEqual({
      modelType: 't5',
      vocabSize: 32128,
      dModel: 4096,
      dKv: 256,
      dFf: 16384,
      numHeads: 16,
      encoderLayers: 32,
      decoderLayers: 32,
      activation: 'silu',
      gated: true,
      tied: true,
      layerNormEpsilon: 1e-6,
      relativeBuckets: 32,
      relativeMaxDistance: 128,
      positionBias: 'first',
      padId: 0,
      eosId: 1,
      decoderStartId: 0,
      declaredPositions: 512,
    });
    const parameters = tensorsOf(config).reduce((sum, { shape }) => sum + shape.reduce((a, b) => a * b, 1), 0);
    expect(parameters / 1e9).toBeCloseTo(19.46, 2);
  });

  it.each([
    ['relu', 'relu', false],
    ['gated-gelu', 'gelu_new', true],
    ['gated-silu', 'silu', true],
    ['gelu_new', 'gelu_new', false],
    ['gelu', 'gelu', false],
    ['gated-relu', 'relu', true],
    [undefined, 'relu', false],
  ])('feed_forward_proj %s is %s, gated: %s', (projection, activation, gated) => {
    expect(parse({ feed_forward_proj: projection })).toMatchObject({ activation, gated });
  });

  it('reads older files that have dense_act_fn and is_gated_act alone', () => {
    const old = { feed_forward_proj: undefined, dense_act_fn: 'gelu_new', is_gated_act: true };
    expect(parse(old)).toMatchObject({ activation: 'gelu_new', gated: true });
  });

  it('takes the exact gelu where it is named beside gated-gelu, which means the approximation', () => {
    const exact = { feed_forward_proj: 'gated-gelu', dense_act_fn: 'gelu', is_gated_act: true };
    expect(parse(exact)).toMatchObject({ activation: 'gelu', gated: true });
    expect(parse({ ...exact, dense_act_fn: undefined })).toMatchObject({ activation: 'gelu_new', gated: true });
  });

  it('lets dense_act_fn win over feed_forward_proj, as transformers does, and says so', () => {
    const notes: string[] = [];
    const config = parse({ feed_forward_proj: 'gated-silu', dense_act_fn: 'relu', is_gated_act: true }, none, notes);
    expect(config.activation).toBe('relu');
    expect(notes.join()).toContain('contradict');
  });

  it('has as many decoder as encoder layers where nothing is said', () => {
    expect(parse({ num_decoder_layers: undefined }).decoderLayers).toBe(2);
    expect(parse({ num_decoder_layers: null }).decoderLayers).toBe(2);
    expect(parse({ num_decoder_layers: 5 }).decoderLayers).toBe(5);
  });

  it('gives umT5 a position bias in every block', () => {
    expect(parse({ model_type: 'umt5' }).positionBias).toBe('every');
    expect(parse({ model_type: 'mt5' }).positionBias).toBe('first');
  });

  it('takes the first of several end tokens, and the pad token to start from', () => {
    expect(parse({ eos_token_id: [2, 1], pad_token_id: 3, decoder_start_token_id: null })).toMatchObject({
      eosId: 2,
      decoderStartId: 3,
    });
    expect(parse({ eos_token_id: [] }).eosId).toBe(1);
  });

  it('knows the architecture where model_type is absent', () => {
    expect(parse({ model_type: undefined, architectures: ['MT5ForConditionalGeneration'] }).modelType).toBe('mt5');
  });
});

describe('the output layer', () => {
  it.each([
    ['t5', undefined, undefined, none, true],
    ['t5', undefined, undefined, own, false],
    ['t5', true, undefined, none, true],
    ['t5', true, undefined, own, false],
    ['t5', false, undefined, own, false],
    ['t5', false, undefined, none, false],
    ['t5', true, false, own, false],
    ['t5', true, false, none, false],
    ['t5', true, true, none, true],
    ['mt5', true, undefined, none, false],
    ['umt5', true, undefined, none, true],
    ['umt5', false, undefined, own, false],
    ['umt5', true, undefined, own, false],
  ])('%s, tie_word_embeddings %s, scale_decoder_outputs %s, %o: tied is %s', (type, tie, scale, has, tied) => {
    const notes: string[] = [];
    const fields = { model_type: type, tie_word_embeddings: tie, scale_decoder_outputs: scale };
    expect(parse(fields, has, notes).tied).toBe(tied);
    expect(notes).toHaveLength(1);
    expect(notes[0]).toMatch(/is the output layer/);
  });

  it('compares lm_head.weight with the embedding where the file leaves the choice', async () => {
    const folder = temporaryFolder();
    const copy = join(folder, 'copy');
    writeCheckpoint(copy, { change: (t) => Object.assign(t, { 'lm_head.weight': t['shared.weight'] }) });
    expect((await readConfig(copy)).tied).toBe(true);
    const other = join(folder, 'other');
    writeCheckpoint(other, { change: (t) => Object.assign(t, { 'lm_head.weight': floats([70, 40], (i) => i) }) });
    const notes: string[] = [];
    expect((await readConfig(other, notes)).tied).toBe(false);
    expect(notes.join()).toContain('lm_head.weight differs');
  });
});

describe('refusals', () => {
  const sizes = ['vocab_size', 'd_model', 'd_kv', 'd_ff', 'num_layers', 'num_heads'];
  it.each(
    sizes.flatMap((field) => [undefined, null, 0, -1, 1.5, 1e12, '64', Number.NaN, {}].map((v) => [field, v] as const)),
  )('%s = %s', (field, value) => {
    const error = thrown(() => parse({ [field]: value }));
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).field).toBe(field);
    expect(error.message).toMatch(new RegExp(`config.json: ${field} .* must be .*\\.`));
    expect(error.message).not.toContain('\n');
  });

  it.each([
    ['num_decoder_layers', 1e6],
    ['relative_attention_num_buckets', 7],
    ['relative_attention_num_buckets', 2],
    ['relative_attention_max_distance', 16],
    ['layer_norm_epsilon', 0],
    ['layer_norm_epsilon', 'x'],
    ['pad_token_id', 70],
    ['eos_token_id', -1],
    ['eos_token_id', [-1]],
    ['decoder_start_token_id', 0.5],
    ['n_positions', -5],
    ['feed_forward_proj', 'gated-gelu-new'],
    ['feed_forward_proj', 'glu-silu'],
    ['feed_forward_proj', 'gelu_fast'],
    ['feed_forward_proj', 'constructor'],
    ['feed_forward_proj', 3],
    ['dense_act_fn', 'tanh'],
    ['is_gated_act', 'yes'],
    ['tie_word_embeddings', 'false'],
    ['scale_decoder_outputs', 1],
  ])('%s = %s', (field, value) => {
    const error = thrown(() => parse({ [field]: value }));
    expect(error).toBeInstanceOf(ConfigError);
    expect((error as ConfigError).field).toBe(field);
  });

  it.each([
    [{ model_type: 'llama' }, 'llama'],
    [{ model_type: 'longt5' }, 'longt5'],
    [{ model_type: 'bart' }, 'bart'],
    [{ model_type: undefined, architectures: ['GPT2LMHeadModel'] }, 'GPT2LMHeadModel'],
    [{ model_type: undefined, architectures: undefined }, 'unknown'],
    [{ model_type: 5 }, '5'],
    [{ architectures: ['T5EncoderModel'] }, 'T5EncoderModel'],
    [{ architectures: ['T5ForSequenceClassification'] }, 'T5ForSequenceClassification'],
    [{ is_encoder_decoder: false }, 'no decoder'],
  ])('another architecture: %o', (change, name) => {
    const error = thrown(() => parse(change));
    expect(error).toBeInstanceOf(UnsupportedModelError);
    expect(error.message).toContain(name);
    expect(error.message).toContain('Flan-UL2');
  });

  it.each([[null], [[]], ['t5'], [7]])('%o is no config', (json) => {
    expect(thrown(() => parseConfig(json, none))).toBeInstanceOf(ConfigError);
  });

  it('keeps hostile values out of its messages', () => {
    const error = thrown(() => parse({ d_model: `\n\u001b[31m${'x'.repeat(1000)}` }));
    expect(error.message.length).toBeLessThan(250);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they must not be there.
    expect(error.message).not.toMatch(/[\u0000-\u001f]/);
  });

  it('a folder that is no model, and a config.json that is no JSON', async () => {
    const folder = temporaryFolder();
    expect(await rejection(readConfig(folder))).toBeInstanceOf(NotAModelError);
    expect(await rejection(readConfig(join(folder, 'missing')))).toBeInstanceOf(NotAModelError);
    const broken = join(folder, 'broken');
    mkdirSync(broken);
    writeFileSync(join(broken, 'config.json'), '{"model_type": "t5"');
    expect((await rejection(readConfig(broken))).message).toMatch(/config\.json is not valid JSON/);
  });
});

function thrown(run: () => unknown): Error {
  try {
    run();
  } catch (error) {
    if (error instanceof Error) return error;
  }
  throw new Error('nothing was thrown');
}
