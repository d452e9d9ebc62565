/**
 * SentencePiece's compiled table of normalizations: a trie of byte strings (darts-clone's double array) and what stands
 * for each of them. A blob of 4 bytes length of the trie, little-endian, the trie in units of 32 bits, and strings that
 * end in a zero byte, at the offsets that the trie gives.
 */

/** More than any table in use (the one of NFKC has some 240 kB): a length above that is a damaged file. */
const MAX_BYTES = 1 << 24;
/** The longest that NFKC makes of one character has 33 bytes: more is a damaged table, cut here so that it cannot fill the memory. */
const MAX_STRING = 256;
// A byte order mark is a character like any other here.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

/** What stands for the first `length` bytes of what was looked up. */
export interface Match {
  readonly length: number;
  readonly text: string;
}

export class Charsmap {
  readonly #units: Uint32Array;
  readonly #strings: Uint8Array;

  /** @throws RangeError for a blob that is no such table */
  constructor(blob: Uint8Array) {
    if (blob.length < 4 || blob.length > MAX_BYTES) throw new RangeError('its table of normalizations is damaged');
    const view = new DataView(blob.buffer, blob.byteOffset, blob.length);
    const bytes = view.getUint32(0, true);
    if (bytes % 4 !== 0 || bytes === 0 || 4 + bytes > blob.length) {
      throw new RangeError('its table of normalizations is damaged');
    }
    this.#units = Uint32Array.from({ length: bytes / 4 }, (_, i) => view.getUint32(4 + 4 * i, true));
    this.#strings = blob.subarray(4 + bytes);
  }

  /** The longest entry that `bytes` has at `from`. */
  longest(bytes: Uint8Array, from: number): Match | undefined {
    return this.#search(bytes, from, false);
  }

  /** The shortest entry at the start of `bytes`. */
  shortest(bytes: Uint8Array): Match | undefined {
    return this.#search(bytes, 0, true);
  }

  #search(bytes: Uint8Array, from: number, first: boolean): Match | undefined {
    const units = this.#units;
    let node = offset(units[0] ?? 0);
    let found: { readonly length: number; readonly value: number } | undefined;
    for (let at = from; at < bytes.length; at++) {
      const byte = bytes[at] as number;
      node ^= byte;
      const unit = units[node];
      if (unit === undefined || label(unit) !== byte) break;
      node ^= offset(unit);
      if (((unit >>> 8) & 1) === 0) continue;
      found = { length: at - from + 1, value: (units[node] ?? 0) & 0x7fffffff };
      if (first) break;
    }
    return found && { length: found.length, text: this.#string(found.value) };
  }

  #string(at: number): string {
    const string = this.#strings.subarray(at, at + MAX_STRING);
    const end = string.indexOf(0);
    return decoder.decode(end < 0 ? string : string.subarray(0, end));
  }
}

/** Of darts-clone's units: how far the children are, and the byte that leads here (a value's unit has bit 31). */
function offset(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

function label(unit: number): number {
  return (unit & 0x800000ff) >>> 0;
}
