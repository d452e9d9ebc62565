/** Damages bytes at random, the same way for the same seed. */
import { randomOf } from '../unit/weights/seeded';

export interface Damage {
  /** Bytes from `from` to `to` are changed in place: the file's other parts stay where they are. */
  readonly from: number;
  readonly to: number;
}

/** What numbers, lengths and offsets are often wrong by. */
const EDGES = [0, 1, 2, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff];

export class Mutator {
  readonly #random: () => number;
  readonly #words: readonly Uint8Array[];

  /** `words`: pieces that mean something in the format, put in as they are. */
  constructor(seed: number, words: readonly (string | Uint8Array)[]) {
    this.#random = randomOf(seed);
    this.#words = words.map((word) => (typeof word === 'string' ? Buffer.from(word) : word));
  }

  below(n: number): number {
    return Math.floor(this.#random() * n);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new RangeError('nothing to pick from');
    return item;
  }

  /** One to four changes anywhere; the length may change. */
  text(source: Uint8Array): Buffer {
    let bytes: Buffer = Buffer.from(source);
    for (let changes = 1 + this.below(4); changes > 0; changes--) {
      const at = this.below(bytes.length + 1);
      const end = Math.min(bytes.length, at + 1 + this.below(12));
      const [before, run, after] = [bytes.subarray(0, at), bytes.subarray(at, end), bytes.subarray(end)];
      switch (this.below(6)) {
        case 0:
          if (at < bytes.length) bytes[at] = this.below(256);
          break;
        case 1:
          bytes = Buffer.concat([before, after]);
          break;
        case 2:
          bytes = Buffer.concat([before, run, run, after]);
          break;
        case 3:
          bytes = Buffer.concat([before, this.pick(this.#words), after]);
          break;
        case 4:
          bytes = Buffer.concat([after, run, before]);
          break;
        default:
          bytes = this.#numbers(bytes);
      }
      if (bytes.length === 0) bytes = Buffer.from('{');
    }
    return bytes;
  }

  /** The same, mostly still JSON: what is no JSON is refused before a reader of ours looks at it. */
  json(source: Uint8Array): Buffer {
    for (let attempt = 0; ; attempt++) {
      const bytes = this.text(source);
      if (attempt === 8 || isJson(bytes)) return bytes;
    }
  }

  /** One to four changes within some ranges; every other byte stays where it is. */
  binary(source: Uint8Array, ranges: readonly Damage[]): Buffer {
    const bytes = Buffer.from(source);
    for (let changes = 1 + this.below(4); changes > 0; changes--) {
      const { from, to } = this.pick(ranges);
      const at = from + this.below(to - from);
      switch (this.below(5)) {
        case 0:
          bytes[at] = this.below(256);
          break;
        case 1:
          bytes[at] = (bytes[at] ?? 0) ^ (1 << this.below(8));
          break;
        case 2: {
          const width = this.pick([1, 2, 4, 8]);
          for (let i = 0, edge = this.pick(EDGES); i < width && at + i < to; i++, edge = Math.floor(edge / 256))
            bytes[at + i] = edge % 256;
          break;
        }
        case 3: {
          // A piece of the same ranges over another one.
          const length = Math.min(1 + this.below(32), to - at);
          const other = from + this.below(Math.max(1, to - from - length));
          source.slice(other, other + length).forEach((byte, i) => {
            bytes[at + i] = byte;
          });
          break;
        }
        default:
          this.pick(this.#words).forEach((byte, i) => {
            if (at + i < to) bytes[at + i] = byte;
          });
      }
    }
    return bytes;
  }

  /** A file that was cut short, or has something behind its end. */
  cut(source: Uint8Array): Buffer {
    const bytes = Buffer.from(source);
    if (this.below(2) === 0) return bytes.subarray(0, this.below(bytes.length));
    return Buffer.concat([bytes, Buffer.alloc(1 + this.below(64), this.below(256))]);
  }

  /** A number of a text becomes another one. */
  #numbers(bytes: Buffer): Buffer {
    const text = bytes.toString('latin1');
    const numbers = [...text.matchAll(/\d+/g)];
    if (numbers.length === 0) return bytes;
    const { 0: old, index } = this.pick(numbers);
    const value = this.pick([
      String(this.pick(EDGES)),
      `${old}0`,
      `-${old}`,
      `${old}.5`,
      '9007199254740993',
      '1e308',
      '18446744073709551616',
      String(Number(old) + 1),
    ]);
    return Buffer.from(`${text.slice(0, index)}${value}${text.slice(index + old.length)}`, 'latin1');
  }
}

function isJson(bytes: Buffer): boolean {
  try {
    JSON.parse(bytes.toString('utf8'));
    return true;
  } catch {
    return false;
  }
}
