/**
 * Writes a checkpoint with random weights and the shapes of Flan-UL2, in BF16, as PyTorch `.bin` shards (what its own
 * repository has) or as one safetensors file, for measurements at full size.
 *
 * node test/bench/run.mjs synthetic DIR [--layers N] [--shards N | --safetensors]
 */
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type TensorSpec, tensorsOf } from '../../server/weights/layout';
import { FLAN_UL2 } from '../fixtures/family';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layers: { type: 'string', default: String(FLAN_UL2.encoderLayers) },
    shards: { type: 'string', default: '8' },
    safetensors: { type: 'boolean', default: false },
  },
});

/** Random BF16 that all tensors are cut from, at places of their own: 39 GB of new numbers would take minutes. */
const POOL_WEIGHTS = 32 * 1024 * 1024;

async function main(): Promise<void> {
  const [dir] = positionals;
  if (dir === undefined) throw new Error('Usage: synthetic DIR [--layers N] [--shards N | --safetensors]');
  const layers = Number(values.layers);
  const config = { ...FLAN_UL2, encoderLayers: layers, decoderLayers: layers };
  const specs = tensorsOf(config);
  mkdirSync(dir, { recursive: true });
  writeFileSync(join(dir, 'config.json'), JSON.stringify(configJson(layers), undefined, 2));
  // Any tokenizer does: the answers mean nothing.
  for (const name of ['tokenizer.json', 'tokenizer_config.json'])
    copyFileSync(join('models', 'starter', name), join(dir, name));
  const pool = randomWeights();
  if (values.safetensors) {
    await writeFileWith(join(dir, 'model.safetensors'), (file) => writeSafetensors(file, specs, pool));
    return;
  }
  const shards = Number(values.shards);
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
    await writeFileWith(join(dir, name), (file) => writeTorch(file, part, pool));
    console.log(`${name}: ${part.length} tensors`);
  }
  const index = { metadata: { total_size: total }, weight_map: weightMap };
  writeFileSync(join(dir, 'pytorch_model.bin.index.json'), JSON.stringify(index));
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

async function writeFileWith(path: string, write: (file: FileHandle) => Promise<void>): Promise<void> {
  const file = await open(path, 'w');
  try {
    await write(file);
  } finally {
    await file.close();
  }
}

async function writeData(file: FileHandle, spec: TensorSpec, pool: Uint8Array): Promise<void> {
  let left = bytesOf(spec);
  if (spec.name.endsWith('norm.weight')) {
    await file.write(new Uint8Array(Uint16Array.from({ length: left / 2 }, () => 0x3f80).buffer));
    return;
  }
  let at = [...spec.name].reduce((sum, c) => (sum * 31 + c.charCodeAt(0)) >>> 0, 0) % pool.length;
  at -= at % 2;
  while (left > 0) {
    const part = pool.subarray(at, Math.min(pool.length, at + left));
    await file.write(part);
    left -= part.length;
    at = 0;
  }
}

async function writeSafetensors(file: FileHandle, specs: readonly TensorSpec[], pool: Uint8Array): Promise<void> {
  const header: Record<string, unknown> = {};
  let at = 0;
  for (const spec of specs) {
    header[spec.name] = { dtype: 'BF16', shape: spec.shape, data_offsets: [at, at + bytesOf(spec)] };
    at += bytesOf(spec);
  }
  const json = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(json.length));
  await file.write(Buffer.concat([length, json]));
  for (const spec of specs) await writeData(file, spec, pool);
}

/** As torch.save writes it, with offsets of 64 bits. The sums of the entries (CRC-32) are left out: nobody reads them. */
async function writeTorch(file: FileHandle, specs: readonly TensorSpec[], pool: Uint8Array): Promise<void> {
  const directory: Buffer[] = [];
  let at = 0;
  const entry = async (name: string, bytes: number, write: () => Promise<unknown>) => {
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50);
    local.writeUInt32LE(bytes, 18);
    local.writeUInt32LE(bytes, 22);
    local.writeUInt16LE(name.length, 26);
    // The data starts at a multiple of 64: an extra field of that length stands before it.
    const padding = 64 + ((64 - ((at + 30 + name.length) % 64)) % 64);
    local.writeUInt16LE(padding, 28);
    const extraField = Buffer.alloc(padding, 'Z');
    extraField.write('FB');
    extraField.writeUInt16LE(padding - 4, 2);
    await file.write(Buffer.concat([local, Buffer.from(name), extraField]));
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50);
    central.writeUInt32LE(bytes, 20);
    central.writeUInt32LE(bytes, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt16LE(12, 30);
    central.writeUInt32LE(0xffffffff, 42);
    const extra = Buffer.from([1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    extra.writeBigUInt64LE(BigInt(at), 4);
    directory.push(central, Buffer.from(name), extra);
    await write();
    at += 30 + name.length + padding + bytes;
  };
  const pickle = pickleOf(specs);
  await entry('archive/data.pkl', pickle.length, () => file.write(pickle));
  for (const [i, spec] of specs.entries()) {
    await entry(`archive/data/${i}`, bytesOf(spec), () => writeData(file, spec, pool));
  }
  await entry('archive/version', 2, () => file.write(Buffer.from('3\n')));
  const count = specs.length + 2;
  const size = directory.reduce((sum, part) => sum + part.length, 0);
  const end64 = Buffer.alloc(56);
  end64.writeUInt32LE(0x06064b50);
  end64.writeBigUInt64LE(44n, 4);
  end64.writeBigUInt64LE(BigInt(count), 24);
  end64.writeBigUInt64LE(BigInt(count), 32);
  end64.writeBigUInt64LE(BigInt(size), 40);
  end64.writeBigUInt64LE(BigInt(at), 48);
  const locator = Buffer.alloc(20);
  locator.writeUInt32LE(0x07064b50);
  locator.writeBigUInt64LE(BigInt(at + size), 8);
  locator.writeUInt32LE(1, 16);
  const end = Buffer.alloc(22, 0xff);
  end.writeUInt32LE(0x06054b50);
  end.writeUInt16LE(0, 20);
  await file.write(Buffer.concat([...directory, end64, locator, end]));
}

/** An OrderedDict of tensors that are whole storages, in pickle's protocol 2. */
function pickleOf(specs: readonly TensorSpec[]): Buffer {
  const int = (value: number) => {
    const bytes = Buffer.alloc(5, 'J');
    bytes.writeInt32LE(value, 1);
    return bytes;
  };
  const text = (value: string) => {
    const length = Buffer.alloc(4);
    length.writeUInt32LE(value.length);
    return Buffer.concat([Buffer.from('X'), length, Buffer.from(value)]);
  };
  const call = (name: string) => Buffer.from(`c${name}\n`);
  const tuple = (items: readonly Buffer[]) => Buffer.concat([Buffer.from('('), ...items, Buffer.from('t')]);
  const dictionary = Buffer.concat([call('collections\nOrderedDict'), Buffer.from(')R')]);
  const items = specs.flatMap(({ name, shape }, i) => {
    const count = shape.reduce((product, n) => product * n, 1);
    const strides = shape.map((_, d) => shape.slice(d + 1).reduce((product, n) => product * n, 1));
    const storage = tuple([text('storage'), call('torch\nBFloat16Storage'), text(`${i}`), text('cpu'), int(count)]);
    const persistent = Buffer.concat([storage, Buffer.from('Q')]);
    const args = [persistent, int(0), tuple(shape.map(int)), tuple(strides.map(int)), Buffer.from([0x89]), dictionary];
    return [text(name), call('torch._utils\n_rebuild_tensor_v2'), tuple(args), Buffer.from('R')];
  });
  return Buffer.concat([Buffer.from([0x80, 2]), dictionary, Buffer.from('('), ...items, Buffer.from('u.')]);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
