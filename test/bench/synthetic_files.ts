/**
 * A checkpoint with the shapes of Flan-UL2 and weights from a seed, in BF16, as files that are made while they are read: at
 * full size nobody has to keep 39 GB, and two runs give the same bytes.
 */
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 } from '../../server/weights/crc32';
import { type TensorSpec, tensorsOf } from '../../server/weights/layout';
import { FLAN_UL2 } from '../fixtures/family';
import { TorchZip, torchPickle } from '../support/torch_file';

/** A file in parts: bytes in memory, or a run of the pool that begins at `start` and goes around. */
type Part = Uint8Array | { readonly start: number; readonly bytes: number };

export interface SyntheticOptions {
  readonly layers: number;
  /** Absent: one safetensors file. */
  readonly shards?: number;
}

/** Random BF16 that all tensors are cut from, at places of their own: 39 GB of new numbers would take minutes. */
const POOL_WEIGHTS = 32 * 1024 * 1024;
const CHUNK_BYTES = 256 * 1024;

let pool: Uint8Array | undefined;

/** Numbers of a size that keeps the activations of 64 layers finite. */
function randomWeights(): Uint8Array {
  const floats = new Float32Array(POOL_WEIGHTS);
  let state = 1;
  for (let i = 0; i < POOL_WEIGHTS; i++) {
    // The sum of the four bytes of a linear congruential generator: nearly normal.
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    const sum = (state & 255) + ((state >> 8) & 255) + ((state >> 16) & 255) + ((state >> 24) & 255);
    floats[i] = (sum - 510) * 1e-4;
  }
  const bits = new Uint32Array(floats.buffer);
  return new Uint8Array(Uint16Array.from(bits, (b) => b >>> 16).buffer);
}

export class SyntheticFile {
  readonly bytes: number;
  readonly #parts: readonly Part[];
  #sha256: string | undefined;

  constructor(parts: readonly Part[]) {
    this.#parts = parts;
    this.bytes = parts.reduce((sum, part) => sum + sizeOf(part), 0);
  }

  get sha256(): string {
    if (this.#sha256 === undefined) {
      const hash = createHash('sha256');
      for (const chunk of this.read(0, this.bytes)) hash.update(chunk);
      this.#sha256 = hash.digest('hex');
    }
    return this.#sha256;
  }

  /** Its bytes between two places, in chunks that must not be changed. */
  *read(from: number, to: number): Generator<Uint8Array> {
    let at = 0;
    for (const part of this.#parts) {
      const size = sizeOf(part);
      const [begin, end] = [Math.max(0, from - at), Math.min(size, to - at)];
      if (begin < end) yield* chunksOf(part, begin, end);
      at += size;
      if (at >= to) return;
    }
  }
}

function sizeOf(part: Part): number {
  return part instanceof Uint8Array ? part.length : part.bytes;
}

function* chunksOf(part: Part, begin: number, end: number): Generator<Uint8Array> {
  if (part instanceof Uint8Array) return yield part.subarray(begin, end);
  pool ??= randomWeights();
  for (let at = begin; at < end; ) {
    const place = (part.start + at) % pool.length;
    const length = Math.min(CHUNK_BYTES, end - at, pool.length - place);
    yield pool.subarray(place, place + length);
    at += length;
  }
}

/** The files of the checkpoint by name, with a configuration and a tokenizer: any does, the answers mean nothing. */
export function syntheticFiles({ layers, shards }: SyntheticOptions): ReadonlyMap<string, SyntheticFile> {
  const specs = tensorsOf({ ...FLAN_UL2, encoderLayers: layers, decoderLayers: layers });
  const files = new Map<string, SyntheticFile>();
  const small = (name: string, content: Uint8Array) => files.set(name, new SyntheticFile([content]));
  small('config.json', Buffer.from(JSON.stringify(configJson(layers), undefined, 2)));
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    small(name, readFileSync(join('models', 'starter', name)));
  if (shards === undefined) return files.set('model.safetensors', new SyntheticFile(safetensorsParts(specs)));
  const total = specs.reduce((sum, spec) => sum + bytesOf(spec), 0);
  const weightMap: Record<string, string> = {};
  let [at, done] = [0, 0];
  for (let shard = 1; shard <= shards; shard++) {
    const part: TensorSpec[] = [];
    for (; at < specs.length && (done < (total * shard) / shards || shard === shards); at++) {
      const spec = specs[at];
      if (!spec) break;
      part.push(spec);
      done += bytesOf(spec);
    }
    const name = `pytorch_model-${String(shard).padStart(5, '0')}-of-${String(shards).padStart(5, '0')}.bin`;
    for (const spec of part) weightMap[spec.name] = name;
    files.set(name, new SyntheticFile(torchParts(part)));
  }
  small(
    'pytorch_model.bin.index.json',
    Buffer.from(JSON.stringify({ metadata: { total_size: total }, weight_map: weightMap })),
  );
  return files;
}

function configJson(layers: number) {
  return {
    architectures: ['T5ForConditionalGeneration'],
    model_type: 't5',
    vocab_size: FLAN_UL2.vocabSize,
    d_model: FLAN_UL2.dModel,
    d_kv: FLAN_UL2.dKv,
    d_ff: FLAN_UL2.dFf,
    num_heads: FLAN_UL2.numHeads,
    num_layers: layers,
    num_decoder_layers: layers,
    feed_forward_proj: 'gated-silu',
    tie_word_embeddings: true,
    relative_attention_num_buckets: FLAN_UL2.relativeBuckets,
    relative_attention_max_distance: FLAN_UL2.relativeMaxDistance,
    layer_norm_epsilon: FLAN_UL2.layerNormEpsilon,
    pad_token_id: 0,
    eos_token_id: 1,
    decoder_start_token_id: 0,
  };
}

function bytesOf(spec: TensorSpec): number {
  return spec.shape.reduce((product, n) => product * n, 2);
}

function dataOf(spec: TensorSpec): Part {
  const bytes = bytesOf(spec);
  if (spec.name.endsWith('norm.weight')) {
    return new Uint8Array(Uint16Array.from({ length: bytes / 2 }, () => 0x3f80).buffer);
  }
  const start = [...spec.name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) >>> 0, 0) % (2 * POOL_WEIGHTS);
  return { start: start - (start % 2), bytes };
}

function safetensorsParts(specs: readonly TensorSpec[]): Part[] {
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const spec of specs) {
    header[spec.name] = { dtype: 'BF16', shape: spec.shape, data_offsets: [at, at + bytesOf(spec)] };
    at += bytesOf(spec);
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  return [length, json, ...specs.map(dataOf)];
}

function torchParts(specs: readonly TensorSpec[]): Part[] {
  const zip = new TorchZip();
  const entry = (name: string, part: Part) => {
    let crc = 0;
    for (const chunk of chunksOf(part, 0, sizeOf(part))) crc = crc32(chunk, crc);
    return [zip.entry(name, sizeOf(part), crc), part];
  };
  const tensors = specs.map((spec, i) => {
    return { name: spec.name, storage: { key: `${i}`, type: 'BFloat16', count: bytesOf(spec) / 2 }, shape: spec.shape };
  });
  return [
    ...entry('archive/data.pkl', torchPickle(tensors)),
    ...specs.flatMap((spec, i) => entry(`archive/data/${i}`, dataOf(spec))),
    ...entry('archive/version', Buffer.from('3\n')),
    zip.end(),
  ];
}
