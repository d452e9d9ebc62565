/** CRC-32 as zip files have it: Node's own where it has one, which keeps up with any disk, else by tables. */
import * as zlib from 'node:zlib';

/** @param before what the bytes before these gave. */
export type Crc32 = (bytes: Uint8Array, before?: number) => number;

/** Node has it from 20.15 and 22.2 on. */
const native = (zlib as { readonly crc32?: Crc32 }).crc32;

let tables: readonly Uint32Array[] | undefined;

/** Four bytes at a time: table t gives what a byte does to the sum when t bytes follow it. */
function makeTables(): readonly Uint32Array[] {
  const all = [0, 1, 2, 3].map(() => new Uint32Array(256));
  const [first = new Uint32Array(256)] = all;
  for (let n = 0; n < 256; n++) {
    let c = n;
    for (let bit = 0; bit < 8; bit++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
    first[n] = c;
  }
  for (let t = 1; t < 4; t++) {
    for (let n = 0; n < 256; n++) {
      const c = all[t - 1]?.[n] ?? 0;
      (all[t] ?? first)[n] = (first[c & 255] ?? 0) ^ (c >>> 8);
    }
  }
  return all;
}

/** The same without Node's; exported for its test. */
export const crc32ByTables: Crc32 = (bytes, before = 0) => {
  tables ??= makeTables();
  const [t0, t1, t2, t3] = tables as readonly [Uint32Array, Uint32Array, Uint32Array, Uint32Array];
  let c = ~before;
  let i = 0;
  for (; i + 4 <= bytes.length; i += 4) {
    c ^= bytes[i]! | (bytes[i + 1]! << 8) | (bytes[i + 2]! << 16) | (bytes[i + 3]! << 24);
    c = t3[c & 255]! ^ t2[(c >>> 8) & 255]! ^ t1[(c >>> 16) & 255]! ^ t0[c >>> 24]!;
  }
  for (; i < bytes.length; i++) c = t0[(c ^ bytes[i]!) & 255]! ^ (c >>> 8);
  return ~c >>> 0;
};

export const crc32: Crc32 = native ?? crc32ByTables;
