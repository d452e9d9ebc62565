import {
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { convertFolder } from '../../../server/weights/convert';
import { NotAModelError, TensorError, WeightFileError } from '../../../server/weights/errors';
import { listModels, resolveWeights, worstErrors } from '../../../server/weights/store';
import { floats, rejection, temporaryFolder, writeCheckpoint } from './support';

const folder = temporaryFolder();
let count = 0;
const fresh = () => join(folder, `${count++}`);

/** What is in a cache, and the time of change of each file: a file that was made again has another. */
const state = (dir: string) => readdirSync(dir).map((name) => `${name} ${statSync(join(dir, name)).mtimeMs}`);

function prepared() {
  const [dir, cacheDir] = [fresh(), fresh()];
  const tensors = writeCheckpoint(dir, { shards: 2 });
  return { dir, cacheDir, tensors };
}

describe('an original', () => {
  it.each(['int8', 'fp32'] as const)('is converted once to %s, and read from the cache then', async (format) => {
    const { dir, cacheDir } = prepared();
    const messages: string[] = [];
    const onProgress = ({ message }: { message: string }) => messages.push(message);
    const first = await resolveWeights({ dir, format, cacheDir, onProgress });
    expect(first).toMatchObject({ form: 'original', file: { format }, config: first.file.config });
    expect(messages.some((m) => /^(Quantizing|Converting)/.test(m))).toBe(true);
    const before = state(cacheDir);
    expect(before).toHaveLength(1);
    messages.length = 0;
    const second = await resolveWeights({ dir, format, cacheDir, onProgress });
    expect(second.file.path).toBe(first.file.path);
    expect(second.file.sha256).toBe(first.file.sha256);
    expect(messages.some((m) => /^(Quantizing|Converting)/.test(m))).toBe(false);
    expect(state(cacheDir)).toEqual(before);
  });

  it.each<[string, (path: string) => void]>([
    ['truncated', (path) => truncateSync(path, statSync(path).size - 1)],
    ['empty', (path) => truncateSync(path, 0)],
    ['damaged', (path) => writeFileSync(path, readFileSync(path).fill(1, 30_000, 30_010))],
    ['a page of text', (path) => writeFileSync(path, 'hello')],
  ])('whose cached file is %s: it is made again, and that is said', async (_, damage) => {
    const { dir, cacheDir } = prepared();
    const first = await resolveWeights({ dir, format: 'int8', cacheDir });
    damage(first.file.path);
    const second = await resolveWeights({ dir, format: 'int8', cacheDir });
    expect(second.file.sha256).toBe(first.file.sha256);
    expect(second.notes.join()).toContain('cached weights were broken and were made again');
    expect(readdirSync(cacheDir)).toHaveLength(1);
    const third = await resolveWeights({ dir, format: 'int8', cacheDir });
    expect(third.notes.join()).not.toContain('broken');
  });

  it('that changed is converted again, and the outdated file goes', async () => {
    const { dir, cacheDir } = prepared();
    const first = await resolveWeights({ dir, format: 'int8', cacheDir });
    const plain = await resolveWeights({ dir, format: 'fp32', cacheDir });
    writeCheckpoint(dir, { shards: 2, seed: 99 });
    for (const shard of ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors']) {
      utimesSync(join(dir, shard), new Date(), new Date(Date.now() + 5_000));
    }
    const second = await resolveWeights({ dir, format: 'int8', cacheDir });
    expect(second.file.sha256).not.toBe(first.file.sha256);
    // The fp32 file of the earlier state stays until fp32 is asked for.
    expect(
      readdirSync(cacheDir)
        .map((name) => join(cacheDir, name))
        .sort(),
    ).toEqual([plain.file.path, second.file.path].sort());
  });

  it('whose config.json changed is converted again', async () => {
    const { dir, cacheDir } = prepared();
    const first = await resolveWeights({ dir, format: 'int8', cacheDir });
    writeCheckpoint(dir, { shards: 2, config: { eos_token_id: 5 } });
    const second = await resolveWeights({ dir, format: 'int8', cacheDir });
    expect(second.config.eosId).toBe(5);
    expect(second.file.path).not.toBe(first.file.path);
  });

  it('two models of the same name do not share a file', async () => {
    const cacheDir = fresh();
    const [a, b] = [join(fresh(), 'model'), join(fresh(), 'model')];
    writeCheckpoint(a, { seed: 1 });
    writeCheckpoint(b, { seed: 2 });
    const one = await resolveWeights({ dir: a, format: 'int8', cacheDir });
    const two = await resolveWeights({ dir: b, format: 'int8', cacheDir });
    expect(two.file.path).not.toBe(one.file.path);
    expect(readdirSync(cacheDir)).toHaveLength(2);
    expect((await resolveWeights({ dir: a, format: 'int8', cacheDir })).file.sha256).toBe(one.file.sha256);
  });

  it('asked for twice at once is converted once', async () => {
    const { dir, cacheDir } = prepared();
    const makers = new Set<number>();
    const one = (i: number) => {
      const onProgress = ({ message }: { message: string }) => message.startsWith('Quantizing') && makers.add(i);
      return resolveWeights({ dir, format: 'int8', cacheDir, onProgress });
    };
    const both = await Promise.all([1, 2].map(one));
    expect(makers.size).toBe(1);
    expect(both[0]?.file.sha256).toBe(both[1]?.file.sha256);
    expect(readdirSync(cacheDir)).toHaveLength(1);
  });

  it('that is damaged: names the tensor, and leaves the cache empty', async () => {
    const [dir, cacheDir] = [fresh(), fresh()];
    writeCheckpoint(dir, { change: (t) => Object.assign(t, { 'shared.weight': floats([70, 40], () => Number.NaN) }) });
    expect(await rejection(resolveWeights({ dir, format: 'int8', cacheDir }))).toBeInstanceOf(TensorError);
    expect(readdirSync(cacheDir)).toEqual([]);
  });
});

describe('a pre-quantized folder', () => {
  const { dir: original, cacheDir } = prepared();
  const dir = fresh();

  it('is used in place for int8, and its fp32 values come from the cache', async () => {
    await convertFolder(original, dir);
    const quantized = await resolveWeights({ dir, format: 'int8', cacheDir });
    expect(quantized).toMatchObject({ form: 'pre-quantized', file: { path: join(dir, 'model.int8.safetensors') } });
    const plain = await resolveWeights({ dir, format: 'fp32', cacheDir });
    expect(plain).toMatchObject({ form: 'pre-quantized', file: { format: 'fp32' } });
    expect(plain.notes.join()).toContain('int8');
    expect(readdirSync(cacheDir)).toHaveLength(1);
  });

  it('that is damaged is never used, and the error says what to do', async () => {
    const path = join(dir, 'model.int8.safetensors');
    const bytes = readFileSync(path);
    writeFileSync(path, Buffer.from(bytes).fill(7, bytes.length - 3));
    for (const format of ['int8', 'fp32'] as const) {
      rmSync(cacheDir, { recursive: true, force: true });
      const error = await rejection(resolveWeights({ dir, format, cacheDir }));
      expect(error).toBeInstanceOf(WeightFileError);
      expect(error.message).toMatch(/damaged.*Convert or download the model again/);
    }
    writeFileSync(path, bytes);
  });

  it('with the config.json of another model is refused', async () => {
    const config = JSON.parse(readFileSync(join(dir, 'config.json'), 'utf8')) as Record<string, unknown>;
    writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...config, d_ff: 128 }));
    const error = await rejection(resolveWeights({ dir, format: 'int8', cacheDir }));
    expect(error).toBeInstanceOf(WeightFileError);
    expect(error.message).toMatch(/of another model than the config\.json beside it/);
  });
});

it('a folder with a configuration alone', async () => {
  const dir = fresh();
  writeCheckpoint(dir);
  rmSync(join(dir, 'model.safetensors'));
  const error = await rejection(resolveWeights({ dir, format: 'int8', cacheDir: fresh() }));
  expect(error).toBeInstanceOf(NotAModelError);
  expect(error.message).toMatch(/has no weights/);
});

describe('the list of models', () => {
  it('has every model with its size, by name, and the starter last', async () => {
    const models = fresh();
    const original = join(models, 'b-original');
    writeCheckpoint(original, { shards: 2 });
    await convertFolder(original, join(models, 'a-quantized'));
    mkdirSync(join(models, 'half-made.tmp'));
    mkdirSync(join(models, 'broken'));
    writeFileSync(join(models, 'broken', 'config.json'), '{"model_type": "llama"}');
    writeFileSync(join(models, 'notes.txt'), '');
    symlinkSync(original, join(models, 'c-link'));
    const skipped: string[] = [];
    const starter = resolve('models/starter');
    const list = await listModels(models, starter, (dir, error) => skipped.push(`${dir}: ${String(error)}`));
    const bytes = [1, 2].reduce(
      (sum, i) => sum + statSync(join(original, `model-0000${i}-of-00002.safetensors`)).size,
      0,
    );
    const parameters = 70 * 40 + 3 * (4 * 24 * 40 + 3 * 136 * 40 + 2 * 40) + (4 * 24 * 40 + 40) + 2 * 32 * 3 + 2 * 40;
    const unconverted = { bytes, form: 'original', demo: false, parameters, changedMs: expect.any(Number) };
    expect(list).toEqual([
      {
        name: 'a-quantized',
        dir: join(models, 'a-quantized'),
        bytes: statSync(join(models, 'a-quantized', 'model.int8.safetensors')).size,
        form: 'pre-quantized',
        demo: false,
        parameters,
        changedMs: expect.any(Number),
      },
      { ...unconverted, name: 'b-original', dir: original },
      { ...unconverted, name: 'c-link', dir: join(models, 'c-link') },
      {
        name: 'starter',
        dir: starter,
        bytes: statSync(join(starter, 'model.int8.safetensors')).size,
        form: 'pre-quantized',
        demo: true,
        parameters: 26_208_384,
        changedMs: expect.any(Number),
      },
    ]);
    expect(skipped).toHaveLength(1);
    expect(skipped[0]).toMatch(/broken: .*llama/);
  });

  it('is empty where there is no folder', async () => {
    expect(await listModels(fresh(), undefined)).toEqual([]);
  });
});

it('the worst tensors, of a folder and of a cached file', async () => {
  const { dir, cacheDir } = prepared();
  expect(await worstErrors(dir)).toEqual([]);
  expect(await worstErrors(dir, cacheDir)).toEqual([]);
  const { file } = await resolveWeights({ dir, format: 'int8', cacheDir });
  const worst = await worstErrors(dir, cacheDir);
  expect(worst).toEqual(file.errors);
  expect(worst.map(([, rms]) => rms)).toEqual(worst.map(([, rms]) => rms).sort((a, b) => b - a));
  const starter = await worstErrors(resolve('models/starter'));
  expect(starter[0]?.[0]).toBe('shared.weight');
});
