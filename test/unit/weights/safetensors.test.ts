import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SafetensorsError, TensorError } from '../../../server/weights/errors';
import { MAX_HEADER_BYTES, SafetensorsFile } from '../../../server/weights/safetensors';
import { bfloats, floats, rejection, safetensorsBytes, temporaryFolder, withLength } from './support';

const folder = temporaryFolder();
let count = 0;

function fileOf(bytes: Uint8Array): string {
  const path = join(folder, `${count++}.safetensors`);
  writeFileSync(path, bytes);
  return path;
}

const tensors = {
  a: floats([3, 5], (i) => i / 4),
  empty: floats([0, 4], () => 0),
  b: bfloats([2], (i) => i + 1),
  scalar: floats([], () => 7),
};

/** A header that says `json` of eight bytes of data. */
const saying = (json: unknown) => withLength(JSON.stringify(json), new Uint8Array(8));
const entry = (shape: unknown, data_offsets: unknown, dtype: unknown = 'U8') => ({ dtype, shape, data_offsets });

describe('reading', () => {
  it('finds tensors, their places and the metadata', async () => {
    const file = await SafetensorsFile.open(fileOf(safetensorsBytes(tensors, { format: 'pt' })));
    expect(file.metadata.get('format')).toBe('pt');
    expect(file.info('a')).toEqual({ name: 'a', dtype: 'F32', shape: [3, 5], offset: file.dataStart, bytes: 60 });
    expect(new Float32Array((await file.read('a')).buffer)).toEqual(Float32Array.from({ length: 15 }, (_, i) => i / 4));
    expect((await file.read('empty')).length).toBe(0);
    expect(new Float32Array((await file.read('scalar')).buffer)).toEqual(Float32Array.of(7));
    expect(() => file.info('c')).toThrow(TensorError);
    await file.close();
  });

  it('streams a tensor in pieces that together are the whole', async () => {
    const bytes = Uint8Array.from({ length: 10_007 }, (_, i) => (i * 31) % 251);
    const file = await SafetensorsFile.open(fileOf(safetensorsBytes({ w: { dtype: 'U8', shape: [10_007], bytes } })));
    for (const size of [7, 4096, 10_006, 10_007, 20_000]) {
      const whole = new Uint8Array(bytes.length);
      const offsets: number[] = [];
      for await (const piece of file.pieces('w', size)) {
        offsets.push(piece.offset);
        whole.set(piece.bytes, piece.offset);
        expect(piece.bytes.byteOffset % 8).toBe(0);
      }
      expect(whole).toEqual(bytes);
      expect(offsets).toEqual(Array.from({ length: Math.ceil(10_007 / size) }, (_, i) => i * size));
    }
    await file.close();
  });

  it('ends in the middle when it is cancelled or left', async () => {
    const file = await SafetensorsFile.open(fileOf(safetensorsBytes({ w: floats([1000], (i) => i) })));
    for await (const piece of file.pieces('w', 400)) if (piece.offset > 0) break;
    const signal = { stopped: false };
    let seen = 0;
    const stopped = (async () => {
      for await (const _ of file.pieces('w', 400, signal)) signal.stopped = ++seen === 3;
    })();
    expect(await rejection(stopped)).toMatchObject({ code: 'cancelled' });
    expect(seen).toBe(3);
    await file.close();
  });

  it('says so when a file shrinks while it is read', async () => {
    const path = fileOf(safetensorsBytes({ w: floats([1000], (i) => i) }));
    const file = await SafetensorsFile.open(path);
    truncateSync(path, 2000);
    expect((await rejection(file.read('w'))).message).toMatch(/ends at byte 2000, too early/);
    await file.close();
  });
});

describe('refusals', () => {
  const whole = safetensorsBytes(tensors);
  const longLength = Buffer.from(whole);
  longLength.writeBigUInt64LE(2n ** 63n);
  const overLimit = Buffer.from(whole);
  overLimit.writeBigUInt64LE(BigInt(MAX_HEADER_BYTES) + 1n);

  it.each<[string, Uint8Array, RegExp]>([
    ['an empty file', new Uint8Array(0), /0 bytes/],
    ['seven bytes', new Uint8Array(7), /7 bytes/],
    ['a length beyond all files', longLength, /claims 9223372036854775808 bytes/],
    ['a length above the limit', overLimit, /at most 16777216/],
    ['a header cut short', whole.subarray(0, 60), /cut short within its header/],
    ['data cut short', whole.subarray(0, -1), /cut short within tensor scalar/],
    ['data cut short early', whole.subarray(0, -30), /cut short within tensor a/],
    ['bytes behind the data', Buffer.concat([whole, Buffer.alloc(3)]), /3 bytes more/],
    ['an HTML page', Buffer.from('<!DOCTYPE html><html>Not found</html>'), /claims/],
    ['no JSON', withLength('{"a": '), /not valid JSON/],
    ['no UTF-8', Buffer.concat([withLength('x'.repeat(2)).subarray(0, 8), Buffer.of(0xff, 0xfe)]), /not valid JSON/],
    ['a list', saying([]), /no JSON object/],
    ['null', saying(null), /no JSON object/],
    ['metadata that is no object', saying({ __metadata__: 3 }), /metadata of its header/],
    ['metadata that is no string', saying({ __metadata__: { a: 3 } }), /metadata a is no string/],
    ['an entry that is no object', saying({ a: 3 }), /tensor a: nothing readable/],
    ['an unknown type', saying({ a: entry([8], [0, 8], 'Q4') }), /unknown type Q4/],
    ['a type of the prototype', saying({ a: entry([8], [0, 8], 'toString') }), /unknown type toString/],
    ['no shape', saying({ a: entry(undefined, [0, 8]) }), /impossible shape/],
    ['a negative dimension', saying({ a: entry([-8], [0, 8]) }), /impossible shape/],
    ['a broken dimension', saying({ a: entry([1.5], [0, 8]) }), /impossible shape/],
    ['too many dimensions', saying({ a: entry(Array(9).fill(1), [0, 1]) }), /impossible shape/],
    ['a product that overflows', saying({ a: entry([2 ** 31, 2 ** 31, 2 ** 31], [0, 8]) }), /takes/],
    ['offsets of three', saying({ a: entry([8], [0, 8, 9]) }), /impossible offsets/],
    ['offsets backwards', saying({ a: entry([8], [8, 0]) }), /-8 bytes/],
    ['negative offsets', saying({ a: entry([8], [-8, 0]) }), /impossible offsets/],
    ['offsets unlike the shape', saying({ a: entry([7], [0, 8]) }), /8 bytes, where U8 \[7\] takes 7/],
    ['an overlap', saying({ a: entry([8], [0, 8]), b: entry([2], [4, 6]) }), /tensor b overlaps/],
    ['a tensor twice', saying({ a: entry([8], [0, 8]), b: entry([8], [0, 8]) }), /overlaps/],
    ['a hole', saying({ a: entry([4], [0, 4]), b: entry([2], [6, 8]) }), /hole before tensor b/],
    ['a hole at the start', saying({ a: entry([4], [4, 8]) }), /hole before tensor a/],
    ['no tensors for the data', saying({}), /8 bytes more/],
    ['an end far beyond the file', saying({ a: entry([2 ** 52], [0, 2 ** 52]) }), /cut short within tensor a/],
  ])('%s', async (_, bytes, message) => {
    const path = fileOf(bytes);
    const error = await rejection(SafetensorsFile.open(path));
    expect(error).toBeInstanceOf(SafetensorsError);
    expect(error.message).toMatch(message);
    expect(error.message).toContain(path);
    expect(error.message).toMatch(/\. Download this file again\.$/);
    expect(error.message).not.toContain('\n');
  });

  it('a file that is missing, and a folder', async () => {
    expect((await rejection(SafetensorsFile.open(join(folder, 'none')))).message).toMatch(/the file is missing/);
    expect(await rejection(SafetensorsFile.open(folder))).toBeInstanceOf(SafetensorsError);
  });
});
