/**
 * Checks encoder.ts on a card: random weights in the file's layout go in through `place`, and the output, the cross keys
 * and values, a stop and the reuse of the work space are compared with a float64 encoder written here.
 *
 *   node encoder_check.js IMAGE     IMAGE: kernels/encoder.cu as a fat binary or cubin
 */
import { readFileSync } from 'node:fs';
import { CudaDriver } from '../../server/engine/cuda/driver';
import { CudaEncoder } from '../../server/engine/cuda/encoder';
import type { DevicePtr } from '../../server/engine/cuda/seams';
import { relativeBucket } from '../../server/engine/onnx/positions';
import { CancelledError } from '../../server/errors';
import type { T5Config } from '../../server/weights/config';
import { paddedK, tensorsOf } from '../../server/weights/layout';

const BASE: T5Config = {
  modelType: 't5',
  vocabSize: 100,
  dModel: 200,
  dKv: 40,
  dFf: 264,
  numHeads: 3,
  encoderLayers: 2,
  decoderLayers: 2,
  activation: 'gelu_new',
  gated: true,
  tied: true,
  layerNormEpsilon: 1e-6,
  relativeBuckets: 32,
  relativeMaxDistance: 128,
  positionBias: 'first',
  padId: 0,
  eosId: 1,
  decoderStartId: 0,
  declaredPositions: undefined,
};

const CASES: readonly [string, T5Config][] = [
  ['gated gelu, heads of 40', BASE],
  ['relu, not gated, heads of 128', { ...BASE, activation: 'relu', gated: false, dKv: 128, dModel: 384, dFf: 136 }],
  [
    'silu, heads of 256, a bias in every block',
    { ...BASE, activation: 'silu', dKv: 256, numHeads: 2, positionBias: 'every' },
  ],
];

interface HostTensor {
  readonly values: Float64Array;
  readonly data: Uint8Array | Float32Array;
  /** Bits of fp16 numbers. */
  readonly scales: Uint16Array;
}

let state = 12345;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}

/** A value of an fp16 bit pattern in the normal range. */
function half(bits: number): number {
  return 2 ** ((bits >> 10) - 15) * (1 + (bits & 1023) / 1024);
}

function matrix(n: number, k: number, deviation: number): HostTensor {
  const padded = paddedK(k);
  const data = new Uint8Array(n * padded).fill(128);
  const scales = new Uint16Array((n * padded) / 128);
  const values = new Float64Array(n * k);
  const exponent = Math.floor(Math.log2(deviation / 73.9)) + 15;
  for (let row = 0; row < n; row++) {
    for (let i = 0; i < padded; i++) {
      const block = (row * padded + i) >> 7;
      if (i % 128 === 0) scales[block] = (Math.max(exponent, 1) << 10) | Math.floor(random() * 1024);
      if (i >= k) continue;
      const q = Math.floor(random() * 255) - 127;
      data[row * padded + i] = q + 128;
      values[row * k + i] = q * half(scales[block] ?? 0);
    }
  }
  return { values, data, scales };
}

function vector(n: number, center: number, spread: number): HostTensor {
  const data = Float32Array.from({ length: n }, () => center + spread * (2 * random() - 1));
  return { values: Float64Array.from(data), data, scales: new Uint16Array(0) };
}

/** The embedding in the decoder's chunks (kernels/common.cuh). */
function chunksOf({ data, scales }: HostTensor, n: number, k: number): { bytes: Uint8Array; chunks: number } {
  const padded = paddedK(k);
  const chunks = Math.ceil(k / 256);
  const bytes = new Uint8Array(Math.ceil(n / 16) * chunks * 4160).fill(128);
  const view = new DataView(bytes.buffer);
  for (let row = 0; row < n; row++) {
    for (let i = 0; i < padded; i++) {
      const chunk = (Math.floor(row / 16) * chunks + (i >> 8)) * 4160;
      const r = row % 16;
      const at = i & 255;
      bytes[chunk + (at >> 6) * 1024 + (r >> 3) * 512 + ((r & 7) * 4 + ((at & 63) >> 4)) * 16 + (at & 15)] =
        data[row * padded + i] ?? 0;
      view.setUint16(
        chunk + 4096 + (r & 7) * 8 + ((at >> 7) * 2 + (r >> 3)) * 2,
        scales[(row * padded + i) >> 7] ?? 0,
        true,
      );
    }
  }
  return { bytes, chunks };
}

/** [tokens, n] = x [tokens, k] times w [n, k] transposed. */
function multiply(x: Float64Array, w: Float64Array, tokens: number, n: number, k: number): Float64Array {
  const out = new Float64Array(tokens * n);
  for (let t = 0; t < tokens; t++) {
    for (let row = 0; row < n; row++) {
      let sum = 0;
      for (let i = 0; i < k; i++) sum += (x[t * k + i] ?? 0) * (w[row * k + i] ?? 0);
      out[t * n + row] = sum;
    }
  }
  return out;
}

function normalize(x: Float64Array, gamma: Float64Array, tokens: number, d: number, eps: number): Float64Array {
  const out = new Float64Array(x.length);
  for (let t = 0; t < tokens; t++) {
    let sum = 0;
    for (let i = 0; i < d; i++) sum += (x[t * d + i] ?? 0) ** 2;
    const inverse = 1 / Math.sqrt(sum / d + eps);
    for (let i = 0; i < d; i++) out[t * d + i] = (x[t * d + i] ?? 0) * inverse * (gamma[i] ?? 0);
  }
  return out;
}

function activate(x: number, kind: T5Config['activation']): number {
  if (kind === 'relu') return Math.max(x, 0);
  if (kind === 'silu') return x / (1 + Math.exp(-x));
  return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)));
}

/** The encoder in float64. Returns the output and, for each decoder block, keys and values. */
function reference(config: T5Config, at: (name: string) => Float64Array, ids: Int32Array) {
  const { dModel: d, dFf, numHeads, dKv, layerNormEpsilon: eps } = config;
  const tokens = ids.length;
  const inner = numHeads * dKv;
  const table = at('shared.weight');
  let x = new Float64Array(tokens * d);
  for (const [t, id] of ids.entries()) x.set(table.subarray(id * d, (id + 1) * d), t * d);
  const add = (y: Float64Array) => {
    x = x.map((v, i) => v + (y[i] ?? 0));
  };
  for (let b = 0; b < config.encoderLayers; b++) {
    const block = `encoder.block.${b}.layer`;
    const n = normalize(x, at(`${block}.0.layer_norm.weight`), tokens, d, eps);
    const of = (m: string) => multiply(n, at(`${block}.0.SelfAttention.${m}.weight`), tokens, inner, d);
    const [q, k, v] = [of('q'), of('k'), of('v')];
    const biasBlock = config.positionBias === 'every' ? b : 0;
    const bias = at(`encoder.block.${biasBlock}.layer.0.SelfAttention.relative_attention_bias.weight`);
    const attended = new Float64Array(tokens * inner);
    for (let h = 0; h < numHeads; h++) {
      for (let i = 0; i < tokens; i++) {
        const scores = Float64Array.from({ length: tokens }, (_, j) => {
          let sum =
            bias[relativeBucket(j - i, true, config.relativeBuckets, config.relativeMaxDistance) * numHeads + h] ?? 0;
          for (let e = 0; e < dKv; e++) sum += (q[i * inner + h * dKv + e] ?? 0) * (k[j * inner + h * dKv + e] ?? 0);
          return sum;
        });
        const top = scores.reduce((a, s) => Math.max(a, s));
        const weights = scores.map((s) => Math.exp(s - top));
        const total = weights.reduce((a, s) => a + s, 0);
        for (const [j, w] of weights.entries()) {
          for (let e = 0; e < dKv; e++) {
            const o = i * inner + h * dKv + e;
            attended[o] = (attended[o] ?? 0) + (w / total) * (v[j * inner + h * dKv + e] ?? 0);
          }
        }
      }
    }
    add(multiply(attended, at(`${block}.0.SelfAttention.o.weight`), tokens, d, inner));
    const m = normalize(x, at(`${block}.1.layer_norm.weight`), tokens, d, eps);
    const dense = (name: string) => multiply(m, at(`${block}.1.DenseReluDense.${name}.weight`), tokens, dFf, d);
    let h: Float64Array;
    if (config.gated) {
      const up = dense('wi_1');
      h = dense('wi_0').map((g, i) => activate(g, config.activation) * (up[i] ?? 0));
    } else {
      h = dense('wi').map((g) => activate(g, config.activation));
    }
    add(multiply(h, at(`${block}.1.DenseReluDense.wo.weight`), tokens, d, dFf));
  }
  const hidden = normalize(x, at('encoder.final_layer_norm.weight'), tokens, d, eps);
  const cross = Array.from({ length: config.decoderLayers }, (_, b) =>
    ['k', 'v'].map((m) =>
      multiply(hidden, at(`decoder.block.${b}.layer.1.EncDecAttention.${m}.weight`), tokens, inner, d),
    ),
  );
  return { hidden, cross };
}

function relativeError(got: ArrayLike<number>, want: Float64Array): number {
  let difference = 0;
  let size = 0;
  for (const [i, w] of want.entries()) {
    difference += ((got[i] ?? Number.NaN) - w) ** 2;
    size += w ** 2;
  }
  return Math.sqrt(difference / size);
}

function halfToNumber(bits: number): number {
  const sign = bits >> 15 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  return sign * (exponent === 0 ? (bits & 1023) * 2 ** -24 : half(bits & 0x7fff));
}

/** Runs one model; returns the largest error. */
function check(driver: CudaDriver, image: Uint8Array, config: T5Config): number {
  const inner = config.numHeads * config.dKv;
  const tensors = new Map<string, HostTensor>();
  for (const { name, shape, kind } of tensorsOf(config)) {
    const [n = 0, k = 0] = shape;
    const deviation = name.endsWith('.q.weight')
      ? 1 / Math.sqrt(k * config.dKv)
      : 1 / Math.sqrt(name === 'shared.weight' ? 1 : k);
    if (kind === 'matrix') tensors.set(name, matrix(n, k, deviation));
    else tensors.set(name, k ? vector(n * k, 0, 2) : vector(n, 1, 0.3));
  }
  const shared = tensors.get('shared.weight');
  if (!shared) throw new Error('no embedding');
  const { bytes, chunks } = chunksOf(shared, config.vocabSize, config.dModel);
  const table = driver.alloc(bytes.byteLength, 'the embedding');
  driver.upload(table, bytes);
  const encoder = new CudaEncoder(driver, config, driver.load(image), { address: table, chunks });
  const staging = driver.alloc(1 << 20, 'staging');
  for (const { name, shape } of tensorsOf(config)) {
    const tensor = tensors.get(name);
    if (!encoder.owns(name) || !tensor) continue;
    const scales = staging + BigInt(Math.ceil(tensor.data.byteLength / 256) * 256);
    driver.upload(staging, tensor.data);
    driver.upload(scales, tensor.scales);
    encoder.place({ name, shape, data: staging, scales: tensor.scales.length ? scales : 0n });
    driver.synchronize();
  }
  const hidden = driver.alloc(512 * config.dModel * 4, 'output');
  const run = (ids: Int32Array) => {
    driver.fill(hidden, 0xff, 512 * config.dModel * 4);
    const outputs: Uint16Array[][] = [];
    const copy = (address: DevicePtr) => {
      const out = new Uint16Array(ids.length * inner);
      driver.download(out, address);
      return out;
    };
    encoder.encode(ids, hidden, (_, keys, values) => outputs.push([copy(keys), copy(values)]), { stopped: false });
    const out = new Float32Array(ids.length * config.dModel);
    driver.download(out, hidden);
    return { out, outputs };
  };
  const at = (name: string) => tensors.get(name)?.values ?? new Float64Array(0);
  let worst = 0;
  const first = new Map<number, Float32Array>();
  for (const tokens of [1, 77, 300, 150, 77]) {
    state = tokens;
    const ids = Int32Array.from({ length: tokens }, () => Math.floor(random() * config.vocabSize));
    const got = run(ids);
    const before = first.get(tokens);
    if (before && !before.every((v, i) => v === got.out[i])) throw new Error(`${tokens} tokens: not the same twice`);
    if (!before) first.set(tokens, got.out);
    const want = reference(config, at, ids);
    const errors = [relativeError(got.out, want.hidden)];
    for (const [b, pair] of want.cross.entries()) {
      for (const [i, w] of pair.entries()) {
        const bits = got.outputs[b]?.[i] ?? new Uint16Array(0);
        errors.push(relativeError(Array.from(bits, halfToNumber), w));
      }
    }
    const largest = errors.reduce((a, e) => (Number.isFinite(e) ? Math.max(a, e) : Number.POSITIVE_INFINITY), 0);
    console.log(`  ${tokens} tokens: ${errors.map((e) => e.toExponential(1)).join(' ')}`);
    worst = Math.max(worst, largest);
  }
  try {
    encoder.encode(Int32Array.of(1, 2, 3), hidden, () => undefined, { stopped: true });
    throw new Error('a stop was not heeded');
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
  }
  encoder.dispose();
  for (const address of [table, staging, hidden]) driver.free(address);
  if (driver.allocatedBytes !== 0) throw new Error(`${driver.allocatedBytes} bytes were not freed`);
  return worst;
}

const [, , imagePath] = process.argv;
if (!imagePath) throw new Error('usage: node encoder_check.js IMAGE');
const image = readFileSync(imagePath);
const driver = CudaDriver.open();
console.log(driver.device.name);
let failed = false;
for (const [name, config] of CASES) {
  console.log(name);
  const worst = check(driver, image, config);
  // fp16 operands; random weights amplify roundings through two blocks
  if (!(worst < 3e-3)) failed = true;
}
driver.close();
console.log(failed ? 'FAILED' : 'all well');
process.exitCode = failed ? 1 : 0;
