import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import { afterEach, describe, expect, it } from 'vitest';
import { convertCheckpoint } from '../../../server/weights/convert';
import { TensorError } from '../../../server/weights/errors';
import { UnquantizableError } from '../../../server/weights/quantize';
import { kernelsOver } from '../../../server/weights/quantize_kernels';
import { type FloatType, type Portion, PortionQuantizer, placesOf } from '../../../server/weights/quantize_portion';
import { Quantizer, type QuantizerOptions, QuantizerThreadError } from '../../../server/weights/quantizer';
import { wasmEngine } from '../../../server/weights/wasm';
import { bfloats, doubles, floats, halves, randomOf, rejection, temporaryFolder, writeCheckpoint } from './support';

const folder = temporaryFolder();
const threadFile = join(folder, 'quantizer.cjs');
buildSync({
  entryPoints: [resolve('server/weights/quantize_thread.ts')],
  bundle: true,
  platform: 'node',
  outfile: threadFile,
  logLevel: 'error',
});

const MAKERS = { F32: floats, BF16: bfloats, F16: halves, F64: doubles };
const open: Quantizer[] = [];
const quantizerOf = (options: QuantizerOptions): Quantizer => {
  const quantizer = new Quantizer(options);
  open.push(quantizer);
  return quantizer;
};
afterEach(async () => {
  for (const quantizer of open.splice(0)) await quantizer.close();
});

/** What one portion becomes, with the WebAssembly kernels or in plain JavaScript. */
function quantized(portion: Portion, bytes: Uint8Array, kernels: boolean) {
  const places = placesOf(portion);
  const pages = Math.ceil(places.bytes / 65536);
  const memory = new wasmEngine.Memory({ initial: pages, maximum: pages, shared: true });
  new Uint8Array(memory.buffer, places.source).set(bytes);
  const sums = new PortionQuantizer(memory, kernels).quantize(portion);
  const made = (from: number, to: number) =>
    createHash('sha256').update(new Uint8Array(memory.buffer, from, to - from));
  const weights = made(places.weights, places.scales).digest('hex');
  return { weights, scales: made(places.scales, places.bytes).digest('hex'), sums };
}

describe('the WebAssembly kernels', () => {
  it('are there: every processor that Node 20 runs on has the vectors', () => {
    expect(kernelsOver(new wasmEngine.Memory({ initial: 1, maximum: 1, shared: true }))).toBeDefined();
  });

  it.each(Object.keys(MAKERS) as FloatType[])('give the bytes and sums of plain JavaScript: %s', (dtype) => {
    for (const [k, factor] of [
      [1, 1],
      [3, 1],
      [127, 1],
      [128, 1],
      [129, 0.03125],
      [384, 1],
      [1000, 0.1],
    ] as const) {
      const random = randomOf(k);
      // Every size a type has, from subnormal numbers on, and blocks of zeros.
      const least = dtype === 'F16' ? 26 : 160;
      const value = (i: number) =>
        Math.floor(i / 128) % 7 === 3 ? 0 : (random() - 0.5) * 2 ** (random() < 0.2 ? -least * random() : 4 * random());
      const { bytes } = MAKERS[dtype]([9, k], value);
      const portion = { rows: 9, k, dtype, factor };
      expect(quantized(portion, bytes, true)).toEqual(quantized(portion, bytes, false));
    }
  });

  it('round as plain JavaScript does where a weight lies between two steps, for every scale', () => {
    for (let mantissa = 1024; mantissa < 2048; mantissa++) {
      const scale = mantissa / 1024;
      const { bytes } = floats([1, 256], (i) =>
        i % 128 === 0 ? 127 * scale : (i - 128 + 0.5) * scale * (i < 128 ? 1 : 0.5),
      );
      const portion = { rows: 1, k: 256, dtype: 'F32', factor: 1 } as const;
      expect(quantized(portion, bytes, true)).toEqual(quantized(portion, bytes, false));
    }
  });

  it('widen every number of F16 as the table says, and refuse what is none', () => {
    const finite = Uint16Array.from({ length: 65536 }, (_, bits) => ((bits & 0x7c00) === 0x7c00 ? 0 : bits));
    const all = { rows: 512, k: 128, dtype: 'F16', factor: 1 } as const;
    const bytes = new Uint8Array(finite.buffer);
    expect(quantized(all, bytes, true)).toEqual(quantized(all, bytes, false));
    for (const bits of [0x7c00, 0xfc00, 0x7c01, 0x7e00, 0xffff]) {
      const row = Uint16Array.from({ length: 200 }, (_, i) => (i === 150 ? bits : 0x3c00));
      for (const kernels of [true, false]) {
        const refused = () => quantized({ ...all, rows: 1, k: 200 }, new Uint8Array(row.buffer), kernels);
        expect(refused).toThrow(UnquantizableError);
        expect(refused).toThrow(bits === 0x7c00 ? 'is Infinity' : bits === 0xfc00 ? 'is -Infinity' : 'is NaN');
      }
    }
  });
});

describe('threads', () => {
  it('give what the own thread gives, in any number, whatever comes back first', async () => {
    const random = randomOf(3);
    const portions = Array.from({ length: 40 }, (_, i) => {
      const [rows, k] = [1 + Math.floor(random() * 60), 1 + Math.floor(random() * 700)];
      const dtype = (Object.keys(MAKERS) as FloatType[])[i % 4] ?? 'F32';
      return { rows, k, dtype, bytes: MAKERS[dtype]([rows, k], () => random() - 0.5).bytes, shape: [rows, k] as const };
    });
    const all = async (options: QuantizerOptions) => {
      const quantizer = quantizerOf(options);
      return await Promise.all(
        portions.map(async ({ bytes, dtype, shape }) => {
          const { weights, scales, sums, release } = await quantizer.quantize(bytes, dtype, shape);
          const copy = { weights: createHash('sha256').update(weights).digest('hex'), scales: scales.join(), sums };
          release();
          release(); // The second time it does nothing.
          return copy;
        }),
      );
    };
    const own = await all({});
    for (const threads of [1, 3]) expect(await all({ threadFile, threads })).toEqual(own);
  });

  it.each(['BF16', 'F16', 'F32'] as const)('make the same file, byte for byte: %s', async (dtype) => {
    const source = join(folder, `same-${dtype}`);
    const config = { vocab_size: 3000, d_model: 264, tie_word_embeddings: false, scale_decoder_outputs: true };
    writeCheckpoint(source, { config, dtype, shards: 3 });
    const files: Buffer[] = [];
    for (const options of [{}, { quantizerFile: threadFile, threadsFromBytes: 0 }]) {
      const out = join(source, 'out', `${files.length}`);
      await convertCheckpoint({ source, out, format: 'int8', ...options });
      files.push(readFileSync(out));
    }
    expect(files[1]?.equals(files[0] ?? Buffer.alloc(0))).toBe(true);
    expect(readdirSync(join(source, 'out'))).toEqual(['0', '1']);
  });

  it('name the first weight that is bad, where several are', async () => {
    const source = join(folder, 'bad');
    const name = 'shared.weight';
    const bad = floats([60_000, 40], (i) => (i % 700_000 === 699_999 ? Number.NaN : 1));
    writeCheckpoint(source, { config: { vocab_size: 60_000 }, change: (t) => Object.assign(t, { [name]: bad }) });
    const options = { quantizerFile: threadFile, threadsFromBytes: 0, format: 'int8' } as const;
    const error = await rejection(convertCheckpoint({ source, out: join(source, 'out', 'w'), ...options }));
    expect(error).toBeInstanceOf(TensorError);
    expect(error.message).toContain('is NaN at row 17499, column 39');
    expect(readdirSync(join(source, 'out'))).toEqual([]);
  });

  it.each([
    ['throw', 'throw new Error("out of memory")', /out of memory/],
    ['exit', 'process.exit(7)', /exit code 7/],
  ])('that %s: an error, now and at the next portion, nothing hangs', async (_, code, message) => {
    const broken = join(folder, 'broken.cjs');
    writeFileSync(broken, `require('node:worker_threads').parentPort.on('message', () => { ${code} });`);
    const quantizer = quantizerOf({ threadFile: broken, threads: 2 });
    const jobs = Array.from({ length: 12 }, () => quantizer.quantize(new Uint8Array(2 * 128), 'BF16', [1, 128]));
    for (const outcome of await Promise.allSettled(jobs)) {
      expect(outcome).toMatchObject({ status: 'rejected', reason: expect.any(QuantizerThreadError) });
      if (outcome.status === 'rejected') expect(String(outcome.reason)).toMatch(message);
    }
    const next = rejection(quantizer.quantize(new Uint8Array(2 * 128), 'BF16', [1, 128]));
    expect(await next).toBeInstanceOf(QuantizerThreadError);
  });

  it('that are ended in the middle: what waits is rejected', async () => {
    const quantizer = quantizerOf({ threadFile, threads: 1 });
    const bytes = new Uint8Array(2 * 4096 * 128);
    const jobs = Array.from({ length: 20 }, () => quantizer.quantize(bytes, 'BF16', [128, 4096]));
    const settled = Promise.allSettled(jobs);
    await quantizer.close();
    expect((await settled).some(({ status }) => status === 'rejected')).toBe(true);
  });
});

it('rows and bytes that do not agree are refused', async () => {
  expect(await rejection(quantizerOf({}).quantize(new Uint8Array(9), 'BF16', [1, 4]))).toBeInstanceOf(RangeError);
});
