import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { convertCheckpoint } from '../../../server/weights/convert';
import { DiskSpaceError, TensorError, WeightFileError } from '../../../server/weights/errors';
import { openWeightFile, type WeightFile } from '../../../server/weights/file';
import { paddedK, tensorsOf } from '../../../server/weights/layout';
import { dequantizeRows } from '../../../server/weights/quantize';
import type { OpenOutput } from '../../../server/weights/writer';
import { floats, rejection, SMALL, temporaryFolder, valuesOf, writeCheckpoint } from './support';

const folder = temporaryFolder();
let count = 0;
const fresh = () => join(folder, `${count++}`);

/** The float32 values that a weight file stands for. */
function weightsOf(file: WeightFile, name: string): Float32Array {
  const whole = readFileSync(file.path);
  const bytes = (tensor: string) => {
    const { offset, bytes: length } = file.offsetOf(tensor);
    return whole.buffer.slice(whole.byteOffset + offset, whole.byteOffset + offset + length);
  };
  if (file.offsetOf(name).dtype === 'F32') return new Float32Array(bytes(name));
  const shape = tensorsOf(file.config).find((spec) => spec.name === name)?.shape ?? [];
  const [rows = 0, k = 0] = shape;
  expect(file.offsetOf(name).shape).toEqual([rows, paddedK(k)]);
  const target = new Float32Array(rows * k);
  dequantizeRows(new Uint8Array(bytes(name)), new Uint16Array(bytes(`${name}.scales`)), rows, k, target);
  return target;
}

/** Largest difference, relative to the largest value. */
function difference(a: Float32Array, b: Float32Array): number {
  expect(a.length).toBe(b.length);
  let most = 0;
  let largest = 0;
  for (let i = 0; i < a.length; i++) {
    most = Math.max(most, Math.abs((a[i] ?? 0) - (b[i] ?? 0)));
    largest = Math.max(largest, Math.abs(b[i] ?? 0));
  }
  return most / largest;
}

describe('values', () => {
  it.each([1, 3])('fp32 keeps every value (%i files)', async (shards) => {
    const dir = fresh();
    const tensors = writeCheckpoint(dir, { dtype: 'BF16', shards });
    const out = join(dir, 'out', 'w.safetensors');
    const { made } = await convertCheckpoint({ source: dir, out, format: 'fp32' });
    expect(made).toBe(true);
    const file = await openWeightFile(out);
    for (const name of file.names) expect(weightsOf(file, name)).toEqual(valuesOf(tensors[name]));
    expect(readdirSync(join(dir, 'out'))).toEqual(['w.safetensors']);
  });

  it('int8 is near every value, and keeps vectors', async () => {
    const dir = fresh();
    const tensors = writeCheckpoint(dir, { shards: 2 });
    const out = join(dir, 'w.safetensors');
    await convertCheckpoint({ source: dir, out, format: 'int8' });
    const file = await openWeightFile(out);
    for (const { name, kind } of tensorsOf(file.config)) {
      if (kind === 'vector') expect(weightsOf(file, name)).toEqual(valuesOf(tensors[name]));
      else expect(difference(weightsOf(file, name), valuesOf(tensors[name]))).toBeLessThan(1 / 250);
    }
    expect(file.errors.length).toBeGreaterThan(8);
    for (const [, relativeRms] of file.errors) expect(relativeRms).toBeLessThan(0.02);
  });

  it('a matrix of many portions, of 1001 columns', async () => {
    const dir = fresh();
    const config = { vocab_size: 3000, d_model: 1001, num_layers: 1, num_decoder_layers: 1 };
    const tensors = writeCheckpoint(dir, { config, shards: 2 });
    const out = join(dir, 'w.safetensors');
    await convertCheckpoint({ source: dir, out, format: 'int8' });
    const file = await openWeightFile(out);
    expect(difference(weightsOf(file, 'shared.weight'), valuesOf(tensors['shared.weight']))).toBeLessThan(1 / 250);
  });

  it('fp32 from a pre-quantized folder is what the int8 file stands for', async () => {
    const dir = fresh();
    writeCheckpoint(dir);
    const int8 = join(dir, 'model.int8.safetensors');
    await convertCheckpoint({ source: dir, out: int8, format: 'int8' });
    rmSync(join(dir, 'model.safetensors'));
    const out = join(dir, 'fp32.safetensors');
    await convertCheckpoint({ source: dir, out, format: 'fp32' });
    const [quantized, plain] = [await openWeightFile(int8), await openWeightFile(out)];
    expect(plain.format).toBe('fp32');
    for (const name of plain.names) expect(weightsOf(plain, name)).toEqual(weightsOf(quantized, name));
  });

  it('a file that is there is used again if it is asked for, unless the model is newer or another', async () => {
    const dir = fresh();
    writeCheckpoint(dir);
    const out = join(dir, 'w.safetensors');
    const convert = async () => (await convertCheckpoint({ source: dir, out, format: 'int8', reuse: true })).made;
    expect([await convert(), await convert()]).toEqual([true, false]);
    const later = new Date(Date.now() + 10_000);
    utimesSync(join(dir, 'model.safetensors'), later, later);
    expect(await convert()).toBe(true);
    utimesSync(out, later, later);
    expect(await convert()).toBe(false);
    writeFileSync(join(dir, 'config.json'), JSON.stringify({ ...SMALL, eos_token_id: 2 }));
    expect(await convert()).toBe(true);
  });

  it('int8 from a pre-quantized folder is a copy', async () => {
    const dir = fresh();
    writeCheckpoint(dir);
    const int8 = join(dir, 'model.int8.safetensors');
    await convertCheckpoint({ source: dir, out: int8, format: 'int8' });
    const out = join(dir, 'copy.safetensors');
    const { made, notes } = await convertCheckpoint({ source: dir, out, format: 'int8' });
    expect(made).toBe(true);
    expect(notes.join()).toContain('copied');
    expect(readFileSync(out).equals(readFileSync(int8))).toBe(true);
  });

  it('the same checkpoint gives the same bytes', async () => {
    const [a, b] = [fresh(), fresh()];
    writeCheckpoint(a, { shards: 2 });
    writeCheckpoint(b, { shards: 2 });
    await convertCheckpoint({ source: a, out: join(a, 'w'), format: 'int8' });
    await convertCheckpoint({ source: b, out: join(b, 'w'), format: 'int8' });
    expect(readFileSync(join(a, 'w')).equals(readFileSync(join(b, 'w')))).toBe(true);
  });
});

describe('the output layer', () => {
  const head = floats([70, 40], (i) => Math.sin(i));

  it.each([
    ['untied', { tie_word_embeddings: false }, 1],
    ['not said, but different: with the scale', {}, 40 ** -0.5],
    ['umT5 as transformers 5 saves it', { model_type: 'umt5', tie_word_embeddings: true }, 1],
    ['saved by transformers 5, not scaled', { tie_word_embeddings: true, scale_decoder_outputs: false }, 1],
  ])('%s', async (_, config, factor) => {
    const dir = fresh();
    writeCheckpoint(dir, { config, change: (t) => Object.assign(t, { 'lm_head.weight': head }) });
    const { file } = await convertCheckpoint({ source: dir, out: join(dir, 'w'), format: 'fp32' });
    expect(file.config.tied).toBe(false);
    const expected = valuesOf(head).map((v) => v * factor);
    expect(difference(weightsOf(file, 'lm_head.weight'), expected)).toBeLessThan(1e-6);
  });

  it('tied without a scale: the embedding once more', async () => {
    const dir = fresh();
    const config = { tie_word_embeddings: true, scale_decoder_outputs: false };
    const tensors = writeCheckpoint(dir, { config, change: (t) => delete t['lm_head.weight'] });
    const { file } = await convertCheckpoint({ source: dir, out: join(dir, 'w'), format: 'fp32' });
    expect(file.config.tied).toBe(false);
    expect(weightsOf(file, 'lm_head.weight')).toEqual(valuesOf(tensors['shared.weight']));
  });

  it('untied, but missing: is an error, not a guess', async () => {
    const dir = fresh();
    const config = { tie_word_embeddings: false };
    writeCheckpoint(dir, { config, change: (t) => delete t['lm_head.weight'] });
    const error = await rejection(convertCheckpoint({ source: dir, out: join(dir, 'w'), format: 'fp32' }));
    expect(error).toBeInstanceOf(TensorError);
    expect(error.message).toMatch(/tensor lm_head\.weight is missing/);
  });
});

describe('when it goes wrong, nothing is left', () => {
  const source = fresh();
  writeCheckpoint(source);
  const leaves = async (options: Partial<Parameters<typeof convertCheckpoint>[0]>, before?: string) => {
    const dir = fresh();
    const out = join(dir, 'w');
    if (before !== undefined) {
      await convertCheckpoint({ source, out, format: 'int8' });
      writeFileSync(out, before);
    }
    const error = await rejection(convertCheckpoint({ source, out, format: 'int8', ...options }));
    const left = existsSync(dir) ? readdirSync(dir) : [];
    expect(left).toEqual(before === undefined ? [] : ['w']);
    if (before !== undefined) expect(readFileSync(out, 'utf8')).toBe(before);
    expect(error.message).not.toContain('\n');
    return error;
  };

  it.each([Number.NaN, Number.POSITIVE_INFINITY])('%d in a matrix, int8 and fp32', async (value) => {
    const dir = fresh();
    const name = 'decoder.block.0.layer.2.DenseReluDense.wo.weight';
    writeCheckpoint(dir, {
      change: (t) => Object.assign(t, { [name]: floats([40, 136], (i) => (i === 300 ? value : 1)) }),
    });
    for (const format of ['int8', 'fp32'] as const) {
      const error = await leaves({ source: dir, format });
      expect(error).toBeInstanceOf(TensorError);
      expect((error as TensorError).tensor).toBe(name);
      expect(error.message).toContain(`is ${value} at row 2, column 28`);
      expect(error.message).toContain('model.safetensors');
    }
  });

  it('NaN in a norm', async () => {
    const dir = fresh();
    const name = 'encoder.final_layer_norm.weight';
    writeCheckpoint(dir, { change: (t) => Object.assign(t, { [name]: floats([40], () => Number.NaN) }) });
    expect(await leaves({ source: dir })).toMatchObject({ tensor: name });
  });

  it('too little space: says how much is needed, before anything is written', async () => {
    const error = await leaves({ freeBytes: async () => 1e6 });
    expect(error).toBeInstanceOf(DiskSpaceError);
    expect(error.message).toMatch(/67 MB are needed in .*, but only 1 MB are free\. Free some space/);
  });

  it.each([
    ['ENOSPC', 'The disk is full'],
    ['EDQUOT', 'The disk is full'],
    ['EFBIG', 'larger than this file system'],
    ['EIO', 'Check the disk'],
  ])('%s after some writes; an earlier file stays', async (code, message) => {
    for (const at of [1, 5, 40]) {
      const error = await leaves({ openOutput: failingAfter(at, code) }, 'earlier');
      expect(error).toBeInstanceOf(DiskSpaceError);
      expect(error.message).toContain(message);
    }
  });

  it('a disk that is full when it is synced', async () => {
    const openOutput: OpenOutput = async (path) =>
      Object.assign(await open(path, 'wx+'), { sync: () => Promise.reject(systemError('ENOSPC')) });
    expect(await leaves({ openOutput })).toBeInstanceOf(DiskSpaceError);
  });

  it('cancelled at any portion, by either kind of signal', async () => {
    for (const at of [0, 1, 7, 20]) {
      let portions = 0;
      const controller = new AbortController();
      const flag = { stopped: false };
      const onProgress = () => {
        if (portions++ === at) {
          controller.abort();
          flag.stopped = true;
        }
      };
      expect(await leaves({ onProgress, signal: controller.signal }, 'earlier')).toMatchObject({ code: 'cancelled' });
      portions = 0;
      expect(await leaves({ onProgress, signal: flag })).toMatchObject({ code: 'cancelled' });
    }
  });

  it('a damaged pre-quantized source', async () => {
    const dir = fresh();
    writeCheckpoint(dir);
    const int8 = join(dir, 'model.int8.safetensors');
    await convertCheckpoint({ source: dir, out: int8, format: 'int8' });
    rmSync(join(dir, 'model.safetensors'));
    const bytes = readFileSync(int8);
    bytes[bytes.length - 9] = (bytes[bytes.length - 9] ?? 0) ^ 4;
    writeFileSync(int8, bytes);
    expect(await leaves({ source: dir, format: 'fp32' })).toBeInstanceOf(WeightFileError);
  });
});

describe('other processes', () => {
  const script = join(folder, 'child.cjs');
  buildSync({
    entryPoints: [resolve('test/unit/weights/child.ts')],
    bundle: true,
    platform: 'node',
    outfile: script,
    logLevel: 'error',
  });
  const source = fresh();
  writeCheckpoint(source, { shards: 2 });

  const start = (out: string, delay: number) =>
    spawn(process.execPath, [script, source, out, `${delay}`], { stdio: ['ignore', 'pipe', 'inherit'] });

  it('killed in the middle: nothing usable is left, and the next conversion cleans up and succeeds', async () => {
    const dir = fresh();
    const out = join(dir, 'w');
    const child = start(out, 20);
    await printed(child, /progress/);
    const gone = closed(child);
    child.kill('SIGKILL');
    await gone;
    const left = readdirSync(dir);
    expect(left).not.toContain('w');
    expect(left.filter((name) => name.endsWith('.tmp'))).toHaveLength(1);
    expect(left).toContain('w.lock');
    const { made } = await convertCheckpoint({ source, out, format: 'int8' });
    expect(made).toBe(true);
    expect(readdirSync(dir)).toEqual(['w']);
    await openWeightFile(out);
  });

  it('two at once: the second waits, and takes what the first made', async () => {
    const dir = fresh();
    const out = join(dir, 'w');
    const first = start(out, 10);
    const firstResult = printed(first, /\{.*\}/);
    await printed(first, /progress/);
    const waiting: string[] = [];
    const onProgress = ({ message }: { message: string }) => waiting.push(message);
    const [second, third, one] = await Promise.all([
      convertCheckpoint({ source, out, format: 'int8', onProgress }),
      convertCheckpoint({ source, out, format: 'int8' }),
      firstResult,
    ]);
    expect(waiting).toContain(`Waiting for process ${first.pid}, which converts the same model`);
    expect([second.made, third.made]).toEqual([false, false]);
    expect(JSON.parse(one)).toEqual({ made: true, sha256: second.file.sha256 });
    await closed(first);
    expect(readdirSync(dir)).toEqual(['w']);
    await openWeightFile(out);
  });

  it('waiting can be cancelled', async () => {
    const out = join(fresh(), 'w');
    const first = start(out, 10);
    const end = closed(first);
    await printed(first, /progress/);
    const controller = new AbortController();
    const onProgress = () => controller.abort();
    const second = convertCheckpoint({ source, out, format: 'int8', onProgress, signal: controller.signal });
    expect(await rejection(second)).toMatchObject({ code: 'cancelled' });
    await end;
    await openWeightFile(out);
  });
});

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: of the system`), { code });
}

/** An output whose writes fail from the `n`th on. */
function failingAfter(n: number, code: string): OpenOutput {
  return async (path) => {
    const file = await open(path, 'wx+');
    const write = file.write.bind(file) as typeof file.write;
    let writes = 0;
    return Object.assign(file, {
      write: (...args: Parameters<typeof file.write>) =>
        ++writes >= n ? Promise.reject(systemError(code)) : write(...args),
    }) as typeof file;
  };
}

/** Resolves with the first part of a process's output that matches. */
function printed(child: ChildProcess, pattern: RegExp): Promise<string> {
  return new Promise((resolvePrinted, reject) => {
    let text = '';
    child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      const found = pattern.exec(text);
      if (found) resolvePrinted(found[0]);
    });
    child.on('close', (code) => reject(new Error(`ended with ${code} before it printed ${pattern}: ${text}`)));
  });
}

function closed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return Promise.resolve();
  return new Promise((resolveClosed) => child.on('close', () => resolveClosed()));
}
