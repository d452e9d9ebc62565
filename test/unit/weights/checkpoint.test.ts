import { mkdirSync, readFileSync, renameSync, rmSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Checkpoint } from '../../../server/weights/checkpoint';
import { parseConfig } from '../../../server/weights/config';
import { NotAModelError, SafetensorsError, TensorError, TorchFileError } from '../../../server/weights/errors';
import { type TensorSpec, tensorsOf } from '../../../server/weights/layout';
import {
  floats,
  rejection,
  SMALL,
  type StoredTensor,
  safetensorsBytes,
  type Tensors,
  temporaryFolder,
  valuesOf,
  writeCheckpoint,
} from './support';

const folder = temporaryFolder();
let count = 0;
const fresh = () => join(folder, `${count++}`);
const specs = tensorsOf(parseConfig(SMALL, { lmHead: false }));
const Q = 'encoder.block.1.layer.0.SelfAttention.q.weight';

async function readAll(checkpoint: Checkpoint, spec: TensorSpec): Promise<Float32Array> {
  const k = spec.shape.at(-1) ?? 1;
  const whole = new Float32Array(spec.shape.reduce((a, b) => a * b, 1));
  let next = 0;
  for await (const { row, rows, values } of checkpoint.rows(spec)) {
    expect(row).toBe(next);
    expect(values.length).toBe(rows * k);
    whole.set(values, row * k);
    next += rows;
  }
  return whole;
}

async function expectSame(dir: string, tensors: Tensors): Promise<void> {
  const checkpoint = await Checkpoint.open(dir);
  checkpoint.check(specs);
  for (const spec of specs) expect(await readAll(checkpoint, spec)).toEqual(valuesOf(tensors[spec.name]));
  await checkpoint.close();
}

/** What opening a checkpoint, checking it and reading all of it ends with. */
async function problem(dir: string): Promise<Error> {
  return rejection(
    (async () => {
      const checkpoint = await Checkpoint.open(dir);
      try {
        checkpoint.check(specs);
        for (const spec of specs) await readAll(checkpoint, spec);
      } finally {
        await checkpoint.close();
      }
    })(),
  );
}

describe('reading', () => {
  it.each(['F32', 'BF16', 'F16', 'F64'] as const)('one file of %s', async (dtype) => {
    const dir = fresh();
    await expectSame(dir, writeCheckpoint(dir, { dtype }));
  });

  it('shards', async () => {
    const dir = fresh();
    await expectSame(dir, writeCheckpoint(dir, { shards: 3 }));
  });

  it('files that are links into a store of blobs, as in the Hugging Face cache', async () => {
    const dir = fresh();
    const tensors = writeCheckpoint(dir, { shards: 2 });
    mkdirSync(join(dir, 'blobs'));
    for (const name of ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']) {
      renameSync(join(dir, name), join(dir, 'blobs', name.slice(6, 11)));
      symlinkSync(join('blobs', name.slice(6, 11)), join(dir, name));
    }
    await expectSame(dir, tensors);
  });

  it('tensors larger than a piece, in rows', async () => {
    const dir = fresh();
    mkdirSync(dir);
    const big = floats([1500, 1001], (i) => i % 8191);
    writeFileSync(join(dir, 'model.safetensors'), safetensorsBytes({ 'shared.weight': big }));
    const checkpoint = await Checkpoint.open(dir);
    const spec = { name: 'shared.weight', shape: [1500, 1001], kind: 'matrix' } as const;
    let portions = 0;
    for await (const _ of checkpoint.rows(spec)) portions++;
    expect(portions).toBe(6);
    expect(await readAll(checkpoint, spec)).toEqual(valuesOf(big));
    await checkpoint.close();
  });

  it.each(['encoder.embed_tokens.weight', 'decoder.embed_tokens.weight', 'lm_head.weight'])(
    'an embedding that is stored as %s alone',
    async (alias) => {
      const dir = fresh();
      const tensors = writeCheckpoint(dir, { change: (t) => rename(t, 'shared.weight', alias) });
      await expectSame(dir, { ...tensors, 'shared.weight': tensors[alias] as StoredTensor });
    },
  );

  it('copies of the embedding and tensors that the architecture does not use', async () => {
    const dir = fresh();
    const extra = 'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight';
    const tensors = writeCheckpoint(dir, {
      change: (t) => {
        t['encoder.embed_tokens.weight'] = t['shared.weight'] as StoredTensor;
        t[extra] = floats([32, 3], () => 1);
      },
    });
    await expectSame(dir, tensors);
  });
});

describe('the output layer', () => {
  it.each([
    ['none', undefined, false],
    ['a copy', (t: Tensors) => t['shared.weight'] as StoredTensor, false],
    ['another matrix', () => floats([70, 40], (i) => i), true],
    ['one that differs in its last value', (t: Tensors) => lastChanged(t['shared.weight']), true],
    ['one of another shape', () => floats([71, 40], () => 1), true],
  ])('%s', async (_, head, expected) => {
    const dir = fresh();
    writeCheckpoint(dir, { change: (t) => head && Object.assign(t, { 'lm_head.weight': head(t) }) });
    const checkpoint = await Checkpoint.open(dir);
    expect(await checkpoint.outputIsItsOwn()).toBe(expected);
    await checkpoint.close();
  });
});

describe('refusals', () => {
  it.each<[string, (tensors: Tensors) => void, string, RegExp]>([
    ['a missing tensor', (t) => delete t[Q], Q, /is missing/],
    ['a wrong shape', (t) => Object.assign(t, { [Q]: floats([24, 41], () => 0) }), Q, /\[24, 41\], but .* \[24, 40\]/],
    ['a transposed matrix', (t) => Object.assign(t, { [Q]: floats([40, 24], () => 0) }), Q, /has shape \[40, 24\]/],
    ['a quantized tensor', (t) => Object.assign(t, { [Q]: integers([24, 40]) }), Q, /has the type I8.*unquantized/],
    ['no embedding', (t) => delete t['shared.weight'], 'shared.weight', /is missing/],
  ])('%s', async (_, change, name, message) => {
    const dir = fresh();
    writeCheckpoint(dir, { change });
    const error = await problem(dir);
    expect(error).toBeInstanceOf(TensorError);
    expect((error as TensorError).tensor).toBe(name);
    expect(error.message).toMatch(message);
    expect(error.message).toContain(dir);
  });

  it('a shard that is missing, or that leads nowhere', async () => {
    const dir = fresh();
    writeCheckpoint(dir, { shards: 3 });
    const shard = join(dir, 'model-00002-of-00003.safetensors');
    rmSync(shard);
    expect((await problem(dir)).message).toBe(`${shard}: the file is missing. Download this file again.`);
    symlinkSync('blobs/none', shard);
    expect(await problem(dir)).toBeInstanceOf(SafetensorsError);
  });

  it('a shard that is cut short: says which tensor ends where', async () => {
    const dir = fresh();
    writeCheckpoint(dir, { shards: 2 });
    const shard = join(dir, 'model-00002-of-00002.safetensors');
    truncateSync(shard, readFileSync(shard).length - 100);
    const error = await problem(dir);
    expect(error).toBeInstanceOf(SafetensorsError);
    expect(error.message).toMatch(/model-00002.*cut short within tensor decoder\.final_layer_norm\.weight/);
  });

  it('a shard of another model: the index names a tensor that it does not have', async () => {
    const dir = fresh();
    writeCheckpoint(dir, { shards: 2 });
    writeFileSync(
      join(dir, 'model-00001-of-00002.safetensors'),
      readFileSync(join(dir, 'model-00002-of-00002.safetensors')),
    );
    const error = await problem(dir);
    expect(error).toBeInstanceOf(TensorError);
    expect(error.message).toMatch(
      /model-00001.*shared\.weight is missing, though model\.safetensors\.index\.json says/,
    );
  });

  it.each([
    ['no JSON', '{', /not valid JSON/],
    ['no map', '{"metadata": {}}', /no weight_map/],
    ['an empty map', '{"weight_map": {}}', /no weight_map/],
    ['a list', '[]', /no weight_map/],
    ['a path upwards', '{"weight_map": {"shared.weight": "../x.safetensors"}}', /no file beside it/],
    ['an absolute path', '{"weight_map": {"shared.weight": "/etc/passwd"}}', /no file beside it/],
    ['a Windows path', '{"weight_map": {"shared.weight": "..\\\\x"}}', /no file beside it/],
    ['a number', '{"weight_map": {"shared.weight": 5}}', /no file beside it/],
    ['the folder', '{"weight_map": {"shared.weight": ".."}}', /no file beside it/],
  ])('an index with %s', async (_, text, message) => {
    const dir = fresh();
    mkdirSync(dir);
    writeFileSync(join(dir, 'model.safetensors.index.json'), text);
    const error = await problem(dir);
    expect(error).toBeInstanceOf(SafetensorsError);
    expect(error.message).toMatch(message);
  });

  it('a folder without weights, and one with empty PyTorch weights', async () => {
    const dir = fresh();
    mkdirSync(dir);
    expect(await problem(dir)).toBeInstanceOf(NotAModelError);
    writeFileSync(join(dir, 'pytorch_model.bin'), '');
    expect(await problem(dir)).toBeInstanceOf(TorchFileError);
  });
});

function rename(tensors: Tensors, from: string, to: string): void {
  tensors[to] = tensors[from] as StoredTensor;
  delete tensors[from];
}

function integers(shape: readonly number[]): StoredTensor {
  return { dtype: 'I8', shape, bytes: new Uint8Array(shape.reduce((a, b) => a * b, 1)) };
}

function lastChanged(tensor: StoredTensor | undefined): StoredTensor {
  const values = valuesOf(tensor);
  values[values.length - 1] = 3;
  return { dtype: 'F32', shape: tensor?.shape ?? [], bytes: new Uint8Array(values.buffer) };
}
