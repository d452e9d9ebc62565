/** Small checkpoints on disk, made from a seed, for the tests of this folder and for fuzzing. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseConfig } from '../../../server/weights/config';
import { halfBitsUp, halfTable } from '../../../server/weights/halves';
import { tensorsOf } from '../../../server/weights/layout';
import { randomOf } from './seeded';

export { randomOf } from './seeded';

export interface StoredTensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly bytes: Uint8Array;
}

export type Tensors = Record<string, StoredTensor>;

/** A safetensors file as its specification says, written without the code under test. */
export function safetensorsBytes(tensors: Tensors, metadata?: Record<string, string>): Buffer {
  const header: Record<string, unknown> = metadata ? { __metadata__: metadata } : {};
  let at = 0;
  for (const [name, { dtype, shape, bytes }] of Object.entries(tensors)) {
    header[name] = { dtype, shape, data_offsets: [at, at + bytes.length] };
    at += bytes.length;
  }
  return withLength(JSON.stringify(header), ...Object.values(tensors).map((tensor) => tensor.bytes));
}

/** A header's text with its length before it, and data behind. */
export function withLength(json: string, ...data: Uint8Array[]): Buffer {
  const text = Buffer.from(json);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...data]);
}

export function floats(shape: readonly number[], value: (i: number) => number): StoredTensor {
  const values = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, i) => value(i));
  return { dtype: 'F32', shape, bytes: new Uint8Array(values.buffer) };
}

/** A BF16 tensor: the upper halves of float32 values. */
export function bfloats(shape: readonly number[], value: (i: number) => number): StoredTensor {
  const bits = new Uint32Array(floats(shape, value).bytes.slice().buffer);
  const halves = Uint16Array.from(bits, (b) => b >>> 16);
  return { dtype: 'BF16', shape, bytes: new Uint8Array(halves.buffer) };
}

/** An F16 tensor: every value's magnitude rounded up. */
export function halves(shape: readonly number[], value: (i: number) => number): StoredTensor {
  const values = new Float32Array(floats(shape, value).bytes.slice().buffer);
  const bits = Uint16Array.from(values, (v) => halfBitsUp(Math.abs(v)) | (v < 0 ? 0x8000 : 0));
  return { dtype: 'F16', shape, bytes: new Uint8Array(bits.buffer) };
}

/** An F64 tensor of values that float32 can hold. */
export function doubles(shape: readonly number[], value: (i: number) => number): StoredTensor {
  const values = Float64Array.from(new Float32Array(floats(shape, value).bytes.slice().buffer));
  return { dtype: 'F64', shape, bytes: new Uint8Array(values.buffer) };
}

const MAKERS = { F32: floats, BF16: bfloats, F16: halves, F64: doubles };

/** A small T5 in the form of Flan-UL2; widths that are no multiples of 128. */
export const SMALL = {
  architectures: ['T5ForConditionalGeneration'],
  model_type: 't5',
  vocab_size: 70,
  d_model: 40,
  d_kv: 8,
  d_ff: 136,
  num_layers: 2,
  num_decoder_layers: 1,
  num_heads: 3,
  feed_forward_proj: 'gated-silu',
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  layer_norm_epsilon: 1e-6,
  pad_token_id: 0,
  eos_token_id: 1,
  decoder_start_token_id: 0,
  n_positions: 512,
};

export interface CheckpointOptions {
  readonly config?: Record<string, unknown>;
  readonly dtype?: keyof typeof MAKERS;
  /** Number of files; 1: `model.safetensors`. */
  readonly shards?: number;
  readonly seed?: number;
  /** Changes the tensors before they are written. */
  readonly change?: (tensors: Tensors) => void;
}

/** Writes a checkpoint folder and gives the tensors that it holds. */
export function writeCheckpoint(dir: string, options: CheckpointOptions = {}): Tensors {
  const json = { ...SMALL, ...options.config };
  const random = randomOf(options.seed ?? 1);
  const make = MAKERS[options.dtype ?? 'F32'];
  const tensors: Tensors = {};
  for (const { name, shape } of tensorsOf(parseConfig(json, { lmHead: false }))) {
    tensors[name] = make(shape, () => (random() - 0.5) * random());
  }
  options.change?.(tensors);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'config.json'), JSON.stringify(json));
  writeFileSync(join(dir, 'tokenizer.json'), '{}');
  const shards = options.shards ?? 1;
  if (shards === 1) {
    writeFileSync(join(dir, 'model.safetensors'), safetensorsBytes(tensors));
    return tensors;
  }
  const names = Object.keys(tensors);
  const weightMap: Record<string, string> = {};
  for (let s = 0; s < shards; s++) {
    const file = `model-0000${s + 1}-of-0000${shards}.safetensors`;
    const part = names.slice((names.length * s) / shards, (names.length * (s + 1)) / shards);
    for (const name of part) weightMap[name] = file;
    const chosen = part.map((name) => [name, tensors[name]] as const);
    writeFileSync(join(dir, file), safetensorsBytes(Object.fromEntries(chosen) as Tensors));
  }
  writeFileSync(join(dir, 'model.safetensors.index.json'), JSON.stringify({ weight_map: weightMap }));
  return tensors;
}

/** The float32 values of a tensor that `writeCheckpoint` gave. */
export function valuesOf(tensor: StoredTensor | undefined): Float32Array {
  if (!tensor) throw new Error('no such tensor');
  const copy = tensor.bytes.slice().buffer;
  if (tensor.dtype === 'F32') return new Float32Array(copy);
  if (tensor.dtype === 'F64') return Float32Array.from(new Float64Array(copy));
  if (tensor.dtype === 'F16') return Float32Array.from(new Uint16Array(copy), (b) => halfTable()[b] ?? Number.NaN);
  const bits = Uint32Array.from(new Uint16Array(copy), (b) => b << 16);
  return new Float32Array(bits.buffer);
}
