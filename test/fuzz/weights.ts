/** The readers of weights: safetensors, PyTorch files, indexes, and this program's own weight files. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { Checkpoint, type CheckpointFiles } from '../../server/weights/checkpoint';
import { convertCheckpoint } from '../../server/weights/convert';
import { SafetensorsError } from '../../server/weights/errors';
import { inspectWeightFile, verifyWeightFile, type WeightFile } from '../../server/weights/file';
import { SafetensorsFile } from '../../server/weights/safetensors';
import { DTYPE_BYTES, type TensorFile } from '../../server/weights/tensorfile';
import { readTorchFile } from '../../server/weights/torchfile';
import { bfloats, floats, safetensorsBytes, writeCheckpoint } from '../unit/weights/checkpoints';
import { memoryFile, must, type Target } from './target';

const JSON_WORDS = [
  ...['-1', '1e999', '9007199254740993', 'null', '[]', '{}', '"F32"', '"BF16"', '"U8"', '__proto__', '"__proto__":{}'],
  ...['18446744073709551615', '0.5', '"data_offsets"', '"shape"', ',', ':', '}', '"', '\uffff', '__metadata__'],
  ...['[[[['.repeat(200), '\\u0000', '\\ud800', '1000000000000000000', 'true', '""', '"constructor"'],
];

const small = safetensorsBytes(
  {
    a: floats([3, 5], (i) => i / 4),
    empty: floats([0, 4], () => 0),
    b: bfloats([2], (i) => i + 1),
    scalar: floats([], () => 7),
  },
  { format: 'pt' },
);

/** Reads every tensor that a file says it has. */
async function readAll(file: TensorFile): Promise<Map<string, Buffer>> {
  const all = new Map<string, Buffer>();
  for (const name of file.tensors.keys()) all.set(name, Buffer.from(await file.read(name)));
  return all;
}

export const safetensors: Target = {
  name: 'safetensors header',
  words: JSON_WORDS,
  damage(mutator) {
    const header = Number(small.readBigUInt64LE());
    const kind = mutator.below(8);
    if (kind === 0) return { bytes: mutator.cut(small), of: 0 };
    if (kind === 1) return { bytes: mutator.binary(small, [{ from: 0, to: 8 }]), of: 0 };
    const text = mutator.json(small.subarray(8, 8 + header));
    const length = Buffer.alloc(8);
    length.writeBigUInt64LE(BigInt(text.length));
    return { bytes: Buffer.concat([length, text, small.subarray(8 + header)]), of: 0 };
  },
  async read({ bytes }) {
    const file = await SafetensorsFile.read(memoryFile(bytes));
    // The specification, once more: every entry of the JSON is a tensor with just these bytes, and all bytes are used.
    const length = Number(bytes.readBigUInt64LE());
    const json = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<string, Record<string, unknown>>;
    const names = Object.keys(json).filter((name) => name !== '__metadata__');
    must(names.length === file.tensors.size, 'another number of tensors');
    let used = 8 + length;
    for (const [name, data] of await readAll(file)) {
      const {
        dtype,
        shape,
        data_offsets: offsets,
      } = json[name] as {
        dtype: keyof typeof DTYPE_BYTES;
        shape: number[];
        data_offsets: [number, number];
      };
      must(data.equals(bytes.subarray(8 + length + offsets[0], 8 + length + offsets[1])), `${name}: other bytes`);
      must(data.length === shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]), `${name}: another size`);
      must(file.info(name).shape.join() === shape.join() && file.info(name).dtype === dtype, `${name}: another form`);
      used += data.length;
    }
    must(used === bytes.length, 'bytes that belong to no tensor');
  },
};

const PICKLE_WORDS: (string | Uint8Array)[] = [
  ...['cposix\nsystem\n', 'cbuiltins\neval\n', 'ctorch\nHalfStorage\n', 'ctorch\nFloatStorage\n', 'c__main__\nx\n'],
  ...['(', ')', 'R', 'Q', 'b', 't', 'u', '}', ']', 'a', 'e', '0', '1', '.', 'h\0', 'q\0', 'r\0\0\0\0', 'N', 'K\x01'],
  Buffer.from([0x85]),
  Buffer.from([0x86]),
  Buffer.from([0x94]),
  Buffer.from([0x93]),
  // 10 ** 18, and a number of 255 bytes.
  Buffer.from([0x8a, 8, 0, 0, 0x64, 0xa7, 0xb3, 0xb6, 0xe0, 0x0d]),
  Buffer.concat([Buffer.from([0x8a, 0xff]), Buffer.alloc(255, 0x7f)]),
  Buffer.from('X\xff\xff\xff\xff', 'latin1'),
  // A list that holds itself, and one of it many times over.
  Buffer.from(']q\0h\0a', 'latin1'),
  Buffer.from('](h\0h\0h\0h\0e', 'latin1'),
];

const torchFolder = join(process.cwd(), 'test', 'unit', 'weights', 'torch');
const torchFiles = ['zip/pytorch_model.bin', 'legacy/pytorch_model.bin', 'views.bin', 'transposed.bin'].map((name) => {
  const bytes = readFileSync(join(torchFolder, name));
  return { bytes, zip: bytes.readUInt32LE(0) === 0x04034b50 };
});

/** What the undamaged files hold. */
const torchTensors = torchFiles.map(({ bytes }) =>
  readTorchFile(memoryFile(bytes)).then(async (file) => ({
    infos: [...file.tensors.values()],
    data: await readAll(file),
  })),
);

/** Where the structure of a zip file is: the local headers, and the directory with all behind it. */
function zipRanges(bytes: Buffer): {
  readonly structure: { from: number; to: number }[];
  readonly pickle: { from: number; to: number };
} {
  const end = bytes.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  const directory = bytes.readUInt32LE(end + 16);
  const structure = [{ from: directory, to: bytes.length }];
  let pickle = { from: 0, to: 0 };
  for (let at = directory; bytes.readUInt32LE(at) === 0x02014b50; ) {
    const [name, extra, comment] = [28, 30, 32].map((field) => bytes.readUInt16LE(at + field));
    const local = bytes.readUInt32LE(at + 42);
    const start = local + 30 + bytes.readUInt16LE(local + 26) + bytes.readUInt16LE(local + 28);
    structure.push({ from: local, to: start });
    if (bytes.toString('latin1', at + 46, at + 46 + (name ?? 0)).endsWith('/data.pkl'))
      pickle = { from: start, to: start + bytes.readUInt32LE(at + 24) };
    at += 46 + (name ?? 0) + (extra ?? 0) + (comment ?? 0);
  }
  return { structure, pickle };
}

const zips = torchFiles.map(({ bytes, zip }) => (zip ? zipRanges(bytes) : undefined));

export const zip: Target = {
  name: 'zip of a PyTorch file',
  words: [
    'PK\x01\x02',
    'PK\x03\x04',
    'PK\x05\x06',
    'PK\x06\x06',
    'PK\x06\x07',
    'data.pkl',
    '/data/0',
    Buffer.alloc(8, 0xff),
  ],
  damage(mutator) {
    const of = mutator.pick([0, 2, 3]);
    const whole = torchFiles[of]?.bytes ?? Buffer.alloc(0);
    if (mutator.below(6) === 0) return { bytes: mutator.cut(whole), of };
    return { bytes: mutator.binary(whole, zips[of]?.structure ?? []), of };
  },
  async read({ bytes, of }) {
    const file = await readTorchFile(memoryFile(bytes));
    // Only where things are was damaged: what is found all the same must be what was there.
    const original = await torchTensors[of];
    must(file.tensors.size === original?.infos.length, 'another number of tensors');
    for (const [name, data] of await readAll(file)) {
      must(data.equals(original?.data.get(name) ?? Buffer.from('none')), `${name}: other bytes`);
    }
  },
};

export const pickle: Target = {
  name: 'pickle of a PyTorch file',
  words: PICKLE_WORDS,
  damage(mutator) {
    const of = mutator.below(torchFiles.length);
    const whole = torchFiles[of]?.bytes ?? Buffer.alloc(0);
    const range = zips[of]?.pickle ?? { from: 0, to: whole.indexOf(Buffer.from('.', 'latin1'), 2000) };
    return { bytes: mutator.binary(whole, [range]), of };
  },
  async read({ bytes }) {
    const file = await readTorchFile(memoryFile(bytes));
    for (const [name, data] of await readAll(file)) {
      const { dtype, shape } = file.info(name);
      must(
        shape.every((n) => Number.isSafeInteger(n) && n >= 0),
        `${name}: shape ${shape}`,
      );
      must(data.length === shape.reduce((a, b) => a * b, DTYPE_BYTES[dtype]), `${name}: another size`);
    }
  },
};

const index = Buffer.from(
  JSON.stringify({
    metadata: { total_size: 64 },
    weight_map: { a: 'model-00001-of-00002.safetensors', b: 'model-00002-of-00002.safetensors' },
  }),
);
const shards: Readonly<Record<string, Buffer>> = {
  'model-00001-of-00002.safetensors': safetensorsBytes({ a: floats([2, 2], (i) => i) }),
  'model-00002-of-00002.safetensors': safetensorsBytes({ b: floats([3], (i) => i) }),
};

export const shardIndex: Target = {
  name: 'index of shards',
  words: [...JSON_WORDS, '../', '/etc/passwd', 'C:\\\\', '..', '.', '\\u0000', 'model-00002-of-00002.safetensors'],
  damage: (mutator) => ({ bytes: mutator.json(index), of: 0 }),
  async read({ bytes }) {
    const files: CheckpointFiles = {
      name: '/fuzz',
      has: async (name) => name === 'model.safetensors.index.json',
      text: async () => bytes.toString('utf8'),
      open: async (name) => {
        must(name === basename(name) && !/[\\/\0]/.test(name) && name !== '..' && name !== '.', `opens ${name}`);
        const shard = shards[name];
        if (shard === undefined) throw missing(name);
        return memoryFile(shard, join('/fuzz', name));
      },
    };
    const checkpoint = await Checkpoint.read(files);
    const { weight_map: map } = JSON.parse(bytes.toString('utf8')) as { weight_map: Record<string, string> };
    for (const name of Object.keys(map)) must(checkpoint.has(name), `${name} is not there`);
    for (const [name, path] of Object.entries(map))
      must(basename(checkpoint.fileOf(name)) === path, `${name}: another file`);
    await checkpoint.close();
  },
};

function missing(name: string): Error {
  return new SafetensorsError(join('/fuzz', JSON.stringify(name.slice(0, 40))), 'the file is missing.');
}

/** This program's own weight file, on the disk: its readers take a path. */
export async function weightFileTarget(): Promise<Target & { dispose(): void }> {
  const folder = mkdtempSync(join(tmpdir(), 'flan-fuzz-'));
  writeCheckpoint(join(folder, 'source'));
  const whole = join(folder, 'whole');
  await convertCheckpoint({ source: join(folder, 'source'), out: whole, format: 'int8' });
  const bytes = readFileSync(whole);
  const original = await inspectWeightFile(whole);
  const said = (file: WeightFile) =>
    JSON.stringify([file.config, file.names.map((name) => file.offsetOf(name)), file.sha256, file.source, file.errors]);
  const header = Number(bytes.readBigUInt64LE());
  const text = bytes
    .subarray(8, 8 + header)
    .toString('latin1')
    .trimEnd();
  const path = join(folder, 'damaged');
  return {
    name: "this program's own weight file",
    words: JSON_WORDS,
    damage(mutator) {
      const kind = mutator.below(20);
      // Nearly all damage is refused: what is whole must be accepted.
      if (kind > 17) return { bytes, of: 0 };
      if (kind % 4 === 0) return { bytes: mutator.cut(bytes), of: 0 };
      // A change of the length moves the data: what is tried is the header.
      if (kind % 4 === 1) return { bytes: mutator.binary(bytes, [{ from: 0, to: 8 + text.length }]), of: 0 };
      if (kind % 4 === 2) return { bytes: mutator.binary(bytes, [{ from: 8 + header, to: bytes.length }]), of: 0 };
      const damaged = mutator.text(Buffer.from(text, 'latin1'));
      const padded = Buffer.concat([damaged, Buffer.alloc(Math.max(0, header - damaged.length), ' ')]);
      const length = Buffer.alloc(8);
      length.writeBigUInt64LE(BigInt(padded.length));
      return { bytes: Buffer.concat([length, padded, bytes.subarray(8 + header)]), of: 0 };
    },
    async read(input) {
      writeFileSync(path, input.bytes);
      const file = await verifyWeightFile(path);
      must(said(file) === said(original), 'accepted, but it says something else');
      must(input.bytes.subarray(file.dataStart).equals(bytes.subarray(original.dataStart)), 'accepted with other data');
    },
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  };
}
