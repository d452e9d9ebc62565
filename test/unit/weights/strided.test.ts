// Tensors of PyTorch files that do not lie row after row, and the sums of the bytes that they lie in.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { crc32 as zlibCrc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { crc32, crc32ByTables } from '../../../server/weights/crc32';
import { openTorchFile } from '../../../server/weights/torchfile';
import { crc32 as crc32ByBits } from '../../support/crc32';
import { type TorchTensor, torchFile } from '../../support/torch_file';
import { Place } from './hub/support';
import { filesIn, randomOf, rejection, type Tensors, temporaryFolder, writeCheckpoint } from './support';

const folder = temporaryFolder();
const fileOf = filesIn(folder);

const SIZES = { BFloat16: 2, Half: 2, Float: 4, Double: 8, Byte: 1 } as const;

/** A storage whose elements are all different, as far as their size lets them be. */
function storageOf(type: keyof typeof SIZES, elements: number) {
  const size = SIZES[type];
  const bytes = Buffer.alloc(elements * size);
  for (let i = 0; i < elements; i++) {
    bytes.writeUIntLE(i % 256 ** Math.min(size, 2), i * size, Math.min(size, 2));
    if (size > 2) bytes.writeUInt16LE((7 * i) % 65536, (i + 1) * size - 2);
  }
  return { storage: { key: '0', type, count: elements }, bytes, size };
}

/** What indexing the storage by hand gives: the definition of a strided tensor. */
function gathered(bytes: Uint8Array, size: number, { shape, strides = [], start = 0 }: TorchTensor): Buffer {
  const places = shape.reduce(
    (before, length, d) => before.flatMap((at) => Array.from({ length }, (_, i) => at + i * (strides[d] ?? 0))),
    [start],
  );
  return Buffer.concat(places.map((at) => bytes.subarray(at * size, (at + 1) * size)));
}

describe('any strides', () => {
  const CASES: [string, number[], number[], number][] = [
    ['transposed', [5, 7], [1, 5], 0],
    ['columns of a wider matrix', [6, 3], [8, 1], 2],
    ['every other row', [4, 5], [10, 1], 5],
    ['every third column of a transposed one', [3, 4], [3, 11], 1],
    ['a value for every row', [4, 6], [0, 1], 3],
    ['one value', [3, 5], [0, 0], 4],
    ['three dimensions in another order', [2, 3, 4], [4, 8, 1], 0],
    ['four, all turned around', [2, 3, 2, 5], [1, 2, 6, 12], 0],
    ['one dimension', [9], [4], 1],
    ['a column of one index', [5, 1], [7, 99], 0],
  ];

  it.each(CASES)('%s', async (_, shape, strides, start) => {
    for (const type of Object.keys(SIZES) as (keyof typeof SIZES)[]) {
      const { storage, bytes, size } = storageOf(type, 64);
      const tensor = { name: 'w', storage, shape, strides, start };
      const expected = gathered(bytes, size, tensor);
      const file = await openTorchFile(fileOf(torchFile([tensor], { 0: bytes })));
      expect(file.info('w')).toMatchObject({ shape, bytes: expected.length });
      expect(Buffer.from(await file.read('w'))).toEqual(expected);
      // In pieces of two elements and of nearly all, across the borders of rows.
      for (const elements of [2, 7]) {
        const pieces: Buffer[] = [];
        for await (const { offset, bytes: piece } of file.pieces('w', elements * size)) {
          expect(offset).toBe(pieces.reduce((sum, { length }) => sum + length, 0));
          pieces.push(Buffer.from(piece));
        }
        expect(Buffer.concat(pieces)).toEqual(expected);
      }
      await file.close();
    }
  });

  it('of random forms, among others in one storage', async () => {
    const random = randomOf(2);
    const below = (n: number) => Math.floor(random() * n);
    const { storage, bytes, size } = storageOf('BFloat16', 4000);
    const tensors = Array.from({ length: 200 }, (_, i) => {
      const shape = Array.from({ length: below(4) }, () => 1 + below(6));
      return { name: `${i}`, storage, shape, strides: shape.map(() => below(100)), start: below(2000) };
    });
    const file = await openTorchFile(fileOf(torchFile(tensors, { 0: bytes })));
    for (const tensor of tensors) {
      expect(Buffer.from(await file.read(tensor.name)), JSON.stringify(tensor)).toEqual(gathered(bytes, size, tensor));
    }
    await file.close();
  });

  it('of a storage that is a part of another one, as files from before version 0.4 have them', async () => {
    const { storage, bytes, size } = storageOf('Half', 64);
    const tensor = { name: 'w', shape: [4, 3], strides: [1, 5], start: 2 };
    const open = (from: number, count: number) =>
      openTorchFile(fileOf(torchFile([{ ...tensor, storage: { ...storage, part: { from, count } } }], { 0: bytes })));
    const file = await open(20, 16);
    expect(Buffer.from(await file.read('w'))).toEqual(gathered(bytes, size, { ...tensor, storage, start: 22 }));
    await file.close();
    expect((await rejection(open(20, 15))).message).toMatch(/lies beyond its storage/);
    expect((await rejection(open(50, 15))).message).toMatch(/a storage that is damaged/);
  });

  it('what lies beyond its storage, lies over too much, or repeats too much is refused by name', async () => {
    const { storage, bytes } = storageOf('Byte', 64);
    const open = (tensor: Partial<TorchTensor>, at = storage) =>
      rejection(openTorchFile(fileOf(torchFile([{ name: 'w', storage: at, shape: [], ...tensor }], { 0: bytes }))));
    expect((await open({ shape: [5, 7], strides: [1, 10] })).message).toMatch(/tensor w lies beyond its storage/);
    expect((await open({ shape: [2], strides: [63], start: 1 })).message).toMatch(/tensor w lies beyond its storage/);
    expect((await open({ shape: [70_000_000, 2], strides: [0, 1] })).message).toMatch(/tensor w repeats its values/);
    const huge = { ...storage, count: 2_000_000_000 };
    expect((await open({ shape: [2, 2], strides: [1, 1_900_000_000] }, huge)).message).toMatch(/is of 64 bytes/);
    expect((await open({ shape: [-1, 2], strides: [1, 2] })).message).toMatch(/impossible size/);
  });
});

/** The tensors of a small checkpoint as a PyTorch file: matrices transposed, and several in one storage. */
function stridedFile(tensors: Tensors, shared: boolean): Buffer {
  const listed: TorchTensor[] = [];
  const storages: Record<string, Uint8Array> = {};
  const names = Object.keys(tensors);
  const all: { name: string; start: number; bytes: Uint8Array }[] = [];
  let at = 0;
  for (const name of names) {
    const { shape, bytes } = tensors[name] ?? { shape: [], bytes: new Uint8Array() };
    const [n = 1, k = 1] = shape.length === 2 ? shape : [1, shape[0]];
    const turned = new Uint8Array(bytes.length);
    for (let row = 0; row < n; row++)
      for (let column = 0; column < k; column++)
        turned.set(bytes.subarray((row * k + column) * 2, (row * k + column + 1) * 2), (column * n + row) * 2);
    all.push({ name, start: at, bytes: turned });
    at += turned.length / 2;
  }
  for (const [i, { name, start, bytes }] of all.entries()) {
    const shape = tensors[name]?.shape ?? [];
    const strides = shape.length === 2 ? [1, shape[0] ?? 1] : [1];
    const storage = { key: shared ? '0' : `${i}`, type: 'BFloat16', count: shared ? at : bytes.length / 2 };
    listed.push({ name, storage, shape, strides, start: shared ? start : 0 });
    if (!shared) storages[`${i}`] = bytes;
  }
  if (shared) storages['0'] = Buffer.concat(all.map(({ bytes }) => bytes));
  return torchFile(listed, storages);
}

describe('a checkpoint of transposed matrices', () => {
  it.each([
    ['each in a storage of its own', false],
    ['all in one storage', true],
  ])('%s, converts and pulls to the weights of the plain one', async (_, shared) => {
    const place = await Place.create();
    const [plain, strided] = [join(place.dir, 'plain'), join(place.dir, 'strided')];
    mkdirSync(strided);
    const tensors = writeCheckpoint(plain, { dtype: 'BF16', config: { vocab_size: 900 } });
    writeCheckpoint(strided, { dtype: 'BF16', config: { vocab_size: 900 } });
    rmSync(join(strided, 'model.safetensors'));
    writeFileSync(join(strided, 'pytorch_model.bin'), stridedFile(tensors, shared));
    const [expected, converted] = [await place.converted(plain), await place.converted(strided)];
    const data = (files: Record<string, string>) => {
      const bytes = Buffer.from(files['model.int8.safetensors'] ?? '', 'base64');
      return bytes.subarray(8 + Number(bytes.readBigUInt64LE()));
    };
    expect(data(converted).length).toBeGreaterThan(10_000);
    expect(data(converted)).toEqual(data(expected));
    place.hub.add('google/tiny', strided);
    await place.pull('google/tiny');
    expect(place.installed('tiny')).toEqual(converted);
    expect(place.progress.some(({ state }) => state === 'converting')).toBe(false);
    // One after the other where there is room for only one.
    await place.pull('google/tiny', { name: 'tight', streamLimits: { heldBytes: 900 * 40 * 2 } });
    expect(place.installed('tight')).toEqual(converted);
    expect(place.progress.some(({ state }) => state === 'converting')).toBe(false);
  });

  it('that share their bytes and would all be in memory at once: the file comes onto the disk first', async () => {
    const place = await Place.create();
    const source = join(place.dir, 'source');
    const tensors = writeCheckpoint(source, { dtype: 'BF16' });
    rmSync(join(source, 'model.safetensors'));
    // Every matrix is the same run of one storage, each in its own shape.
    const names = Object.keys(tensors);
    const most = Math.max(...names.map((name) => (tensors[name]?.bytes.length ?? 0) / 2));
    const storage = { key: '0', type: 'BFloat16', count: most };
    const listed = names.map((name) => {
      const shape = tensors[name]?.shape ?? [];
      return { name, storage, shape, ...(shape.length === 2 ? { strides: [1, shape[0] ?? 1] } : {}) };
    });
    const values = Buffer.from(Uint16Array.from({ length: most }, (_, i) => 0x3c00 + (i % 200)).buffer);
    writeFileSync(join(source, 'pytorch_model.bin'), torchFile(listed, { 0: values }));
    const expected = await place.converted(source);
    place.hub.add('google/tiny', source);
    await place.pull('google/tiny');
    expect(place.installed('tiny')).toEqual(expected);
    expect(place.progress.some(({ state }) => state === 'converting')).toBe(false);
    await place.pull('google/tiny', { name: 'tight', streamLimits: { heldBytes: 10_000 } });
    expect(place.installed('tight')).toEqual(expected);
    expect(place.progress.some(({ state }) => state === 'converting')).toBe(true);
  });
});

describe('the CRC-32 of a zip file', () => {
  it('is what its definition gives, by tables and by Node, in parts too', () => {
    const random = randomOf(3);
    for (const length of [0, 1, 3, 4, 5, 63, 64, 1000]) {
      const bytes = Uint8Array.from({ length }, () => Math.floor(random() * 256));
      const expected = crc32ByBits(bytes);
      const middle = Math.floor(length / 3);
      for (const way of [crc32, crc32ByTables, zlibCrc32 ?? crc32ByTables]) {
        expect(way(bytes)).toBe(expected);
        expect(way(bytes.subarray(middle), way(bytes.subarray(0, middle)))).toBe(expected);
      }
    }
    expect(crc32ByTables(Buffer.from('123456789'))).toBe(0xcbf43926);
  });

  const { storage, bytes } = storageOf('BFloat16', 60_000);
  const whole: TorchTensor = { name: 'whole', storage, shape: [200, 300] };
  const turned: TorchTensor = { ...whole, name: 'turned', strides: [1, 200] };
  const part: TorchTensor = { ...whole, name: 'part', shape: [10, 300] };
  const damaged = (tensor: TorchTensor, at: number, sums = true) => {
    const file = torchFile([tensor], { 0: bytes }, { sums });
    const start = file.indexOf(bytes.subarray(0, 200));
    file[start + at] = (file[start + at] ?? 0) ^ 1;
    return fileOf(file);
  };

  it.each([
    ['the first byte', whole, 0],
    ['the last byte', whole, bytes.length - 1],
    ['one of a transposed tensor', turned, 70_000],
    ['one of the storage of a part that is not its own', part, 70_000],
  ] as const)('is compared, and a wrong byte is found: %s', async (_, tensor, at) => {
    const file = await openTorchFile(damaged(tensor, at));
    const error = await rejection(file.read(tensor.name));
    expect(error.message).toMatch(/its entry archive\/data\/0 is damaged: its checksum \(CRC-32\) is another one/);
    await file.close();
  });

  it('is compared for the list of tensors, and not where the writer left it out', async () => {
    const file = torchFile([whole], { 0: bytes });
    const at = file.indexOf('whole');
    file.write('whale', at);
    expect((await rejection(openTorchFile(fileOf(file)))).message).toMatch(/entry archive\/data\.pkl is damaged/);
    const unsummed = await openTorchFile(damaged(whole, 0, false));
    expect((await unsummed.read('whole')).length).toBe(bytes.length);
    await unsummed.close();
  });
});
