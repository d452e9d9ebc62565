import { describe, expect, it } from 'vitest';
import { candidates } from '../../../server/engine/select';
import { knownModel } from '../../../server/models/registry';
import type { RepositoryInfo } from '../../../server/protocol';
import { judged } from '../../../server/runtime/available';

function repository(config: unknown): RepositoryInfo {
  return {
    repository: 'someone/tuned',
    revision: 'main',
    commit: '0'.repeat(40),
    name: 'tuned',
    config,
    weights: 'safetensors',
    files: [],
    downloadBytes: 1e9,
    installBytes: 1e9,
    freeBytes: 1e12,
    gated: false,
  };
}

const BASE = {
  architectures: ['T5ForConditionalGeneration'],
  model_type: 't5',
  vocab_size: 32128,
  d_model: 768,
  d_kv: 64,
  d_ff: 2048,
  num_heads: 12,
  num_layers: 12,
};
const options = {
  find: () =>
    candidates().map((engine) => ({
      ...engine,
      probe: async () => ({ ok: engine.name === 'cpu', detail: `a ${engine.name}`, freeBytes: 8e9 }),
    })),
};

describe('a repository that nobody listed', () => {
  it('is judged by its configuration: size, and where it fits', async () => {
    const tuned = await judged(
      repository({ ...BASE, feed_forward_proj: 'gated-gelu', tie_word_embeddings: false }),
      options,
    );
    expect(tuned.parameters).toBe(knownModel('flan-t5-base')?.parameters);
    expect(tuned.engines).toMatchObject([{ engine: 'cpu', device: 'a cpu', fits: true, freeBytes: 8e9 }]);
    expect(tuned.refused).toBeUndefined();
    // T5 v1.0's form: plain ReLU, tied.
    const plain = await judged(repository({ ...BASE, d_ff: 3072, feed_forward_proj: 'relu' }), options);
    expect(plain.parameters).toBe(knownModel('t5-base')?.parameters);
  });

  it('is refused with its name when it has another architecture', async () => {
    for (const [config, name] of [
      [{ architectures: ['BartForConditionalGeneration'], model_type: 'bart' }, 'bart'],
      [{ model_type: 'longt5', architectures: ['LongT5ForConditionalGeneration'] }, 'longt5'],
      [{ model_type: 'codet5p', architectures: ['CodeT5pEncoderDecoderModel'] }, 'codet5p'],
      [{ model_type: 'switch_transformers' }, 'switch_transformers'],
      [{ ...BASE, architectures: ['T5EncoderModel'] }, 'T5EncoderModel'],
    ] as const) {
      const { refused, installBytes } = await judged(repository(config), options);
      expect(refused?.code).toBe('unsupported-model');
      expect(refused?.message).toContain(name);
      expect(installBytes).toBeUndefined();
    }
  });

  it('is refused with the field when its configuration is absurd', async () => {
    const { refused } = await judged(repository({ ...BASE, d_model: -1 }), options);
    expect(refused).toMatchObject({ code: 'config', message: expect.stringContaining('d_model') });
    expect((await judged(repository('nothing'), options)).refused?.code).toBe('config');
  });
});
