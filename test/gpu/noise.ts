/** Weight files of random int8 for models of real size: what a card reads and computes is the real model's, the answers are noise. */
import { randomFillSync } from 'node:crypto';
import { closeSync, mkdirSync, openSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { T5Config } from '../../server/weights/config';
import type { TensorPlace, WeightFile } from '../../server/weights/file';
import { BLOCK, paddedK, tensorsOf } from '../../server/weights/layout';

const NOISE_BYTES = 64 * 1024 * 1024;
/** Root mean square of whole numbers that are uniform in -127 to 127. */
const NOISE_RMS = Math.sqrt((127 * 128) / 3);
/**
 * Standard deviation of the weights, as T5 is initialised, so that no attention is all on one token; the embedding three
 * times that, so that logits are not flat; what is added to the residual stream so large that the stream passes 65,504,
 * the largest fp16, as it does in real checkpoints.
 */
const DEVIATION: readonly (readonly [RegExp, (config: T5Config) => number])[] = [
  [/^(shared|lm_head)\./, (config) => (config.tied ? 3 : 3 * config.dModel ** -0.5)],
  [/\.q\./, (config) => (config.dModel * config.dKv) ** -0.5],
  [/\.[kv]\./, (config) => config.dModel ** -0.5],
  [/\.o\./, (config) => 8000 * (config.numHeads * config.dKv) ** -0.5],
  [/\.wo\./, (config) => 8000 * config.dFf ** -0.5],
  [/\.wi/, (config) => config.dModel ** -0.5],
];

/**
 * A weight file of this architecture in `folder`, written when it is not there. Beside it `<file>.json` says what lies where,
 * for programs that are not ours.
 */
export function noiseFile(config: T5Config, folder: string): WeightFile {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `noise-${config.dModel}-${config.dFf}-${config.decoderLayers}.safetensors`);
  const places = new Map<string, TensorPlace>();
  let offset = 4096;
  const add = (name: string, dtype: TensorPlace['dtype'], shape: readonly number[], size: number) => {
    const bytes = shape.reduce((a, b) => a * b, size);
    places.set(name, { offset, bytes, dtype, shape });
    offset += Math.ceil(bytes / BLOCK) * BLOCK;
  };
  for (const { name, shape, kind } of tensorsOf(config)) {
    const [n = 0, k = 0] = shape;
    if (kind === 'vector') add(name, 'F32', shape, 4);
    else {
      add(name, 'U8', [n, paddedK(k)], 1);
      add(`${name}.scales`, 'F16', [n, paddedK(k) / BLOCK], 2);
    }
  }
  const written = (() => {
    try {
      return statSync(path).size === offset;
    } catch {
      return false;
    }
  })();
  if (!written) write(config, path, places, offset);
  writeFileSync(`${path}.json`, JSON.stringify({ config, places: Object.fromEntries(places) }));
  return {
    path,
    format: 'int8',
    config,
    fileBytes: offset,
    changedMs: 0,
    dataStart: 4096,
    sha256: '',
    source: '',
    errors: [],
    names: [...places.keys()],
    offsetOf(name) {
      const place = places.get(name);
      if (!place) throw new RangeError(`No tensor ${name}.`);
      return place;
    },
  };
}

function write(config: T5Config, path: string, places: ReadonlyMap<string, TensorPlace>, total: number): void {
  const noise = randomFillSync(Buffer.allocUnsafe(NOISE_BYTES));
  // 0 stands for -128, which the quantizer never writes.
  for (let i = 0; i < noise.length; i++) if (noise[i] === 0) noise[i] = 128;
  const ones = Buffer.from(new Float32Array(1 << 16).fill(1).buffer);
  const file = openSync(path, 'w');
  let start = 0;
  for (const [name, { offset, bytes, dtype }] of places) {
    const from = dtype === 'U8' ? noise : dtype === 'F16' ? scales(config, name) : ones;
    // Every tensor starts elsewhere in the noise: equal matrices would make queries of keys.
    if (dtype === 'U8') start = (start + 7_919_000) % NOISE_BYTES;
    // Nor may rows of a matrix larger than the noise be equal: two tokens would have the same logit. So each time round
    // it begins elsewhere, by a number of bytes that is no multiple of a row.
    for (let at = 0, round = 1, source = dtype === 'U8' ? start : 0; at < bytes; round++) {
      const n = Math.min(from.length - source, bytes - at);
      writeSync(file, from, source, n, offset + at);
      at += n;
      source = dtype === 'U8' ? round * 1_237 : 0;
    }
  }
  writeSync(file, Buffer.alloc(1), 0, 1, total - 1);
  closeSync(file);
}

/** A stretch of equal fp16 scales for a matrix. */
function scales(config: T5Config, name: string): Buffer {
  const rule = DEVIATION.find(([pattern]) => pattern.test(name));
  if (rule === undefined) throw new RangeError(`No rule for the size of ${name}.`);
  return Buffer.from(new Uint16Array(1 << 16).fill(halfBits(rule[1](config) / NOISE_RMS)).buffer);
}

/** The fp16 nearest below `value` > 0, as bits. Scales of wide models are subnormal: below 2^-14, in steps of 2^-24. */
function halfBits(value: number): number {
  if (value < 2 ** -14) return Math.floor(value * 2 ** 24);
  const exponent = Math.floor(Math.log2(value));
  return ((exponent + 15) << 10) | Math.floor((value / 2 ** exponent - 1) * 1024);
}
