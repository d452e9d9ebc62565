/** Writes PyTorch files as torch.save does, without the code under test: views of storages, with any strides. */
import { crc32 } from './crc32';

export interface TorchStorage {
  readonly key: string;
  /** `Float`, `BFloat16`, …: the name of its class without `Storage`. */
  readonly type: string;
  /** Elements. */
  readonly count: number;
  /** Elements of it that are meant, where it is a view in the way of old files. */
  readonly part?: { readonly from: number; readonly count: number };
}

export interface TorchTensor {
  readonly name: string;
  readonly storage: TorchStorage;
  /** In elements. */
  readonly start?: number;
  readonly shape: readonly number[];
  /** Absent: row after row. */
  readonly strides?: readonly number[];
}

/** An OrderedDict of tensors, in pickle's protocol 2. */
export function torchPickle(tensors: readonly TorchTensor[]): Buffer {
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
  const items = tensors.flatMap(({ name, shape, start = 0, storage: { key, type, count, part }, ...given }) => {
    const rows = shape.map((_, d) => shape.slice(d + 1).reduce((product, n) => product * n, 1));
    const view = part ? [tuple([text(key), int(part.from), int(part.count)])] : [];
    const id = tuple([text('storage'), call(`torch\n${type}Storage`), text(key), text('cpu'), int(count), ...view]);
    const storage = Buffer.concat([id, Buffer.from('Q')]);
    const strides = tuple((given.strides ?? rows).map(int));
    const args = [storage, int(start), tuple(shape.map(int)), strides, Buffer.from([0x89]), dictionary];
    return [text(name), call('torch._utils\n_rebuild_tensor_v2'), tuple(args), Buffer.from('R')];
  });
  return Buffer.concat([Buffer.from([0x80, 2]), dictionary, Buffer.from('('), ...items, Buffer.from('u.')]);
}

/** What stands around the entries of a zip file, with places of 64 bits, as torch.save writes it. */
export class TorchZip {
  readonly #directory: Buffer[] = [];
  #at = 0;
  #entries = 0;

  /** Where the next entry begins. */
  get bytes(): number {
    return this.#at;
  }

  /** What stands before the bytes of an entry. They begin at a multiple of 64: an extra field of that length is before them. */
  entry(name: string, bytes: number, crc: number): Buffer {
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50);
    local.writeUInt32LE(crc, 14);
    local.writeUInt32LE(bytes, 18);
    local.writeUInt32LE(bytes, 22);
    local.writeUInt16LE(name.length, 26);
    const padding = 64 + ((64 - ((this.#at + 30 + name.length) % 64)) % 64);
    local.writeUInt16LE(padding, 28);
    const extraField = Buffer.alloc(padding, 'Z');
    extraField.write('FB');
    extraField.writeUInt16LE(padding - 4, 2);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50);
    central.writeUInt32LE(crc, 16);
    central.writeUInt32LE(bytes, 20);
    central.writeUInt32LE(bytes, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt16LE(12, 30);
    central.writeUInt32LE(0xffffffff, 42);
    const extra = Buffer.from([1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    extra.writeBigUInt64LE(BigInt(this.#at), 4);
    this.#directory.push(central, Buffer.from(name), extra);
    this.#entries++;
    this.#at += 30 + name.length + padding + bytes;
    return Buffer.concat([local, Buffer.from(name), extraField]);
  }

  /** The directory and the records of the end. */
  end(): Buffer {
    const size = this.#directory.reduce((sum, part) => sum + part.length, 0);
    const end64 = Buffer.alloc(56);
    end64.writeUInt32LE(0x06064b50);
    end64.writeBigUInt64LE(44n, 4);
    end64.writeBigUInt64LE(BigInt(this.#entries), 24);
    end64.writeBigUInt64LE(BigInt(this.#entries), 32);
    end64.writeBigUInt64LE(BigInt(size), 40);
    end64.writeBigUInt64LE(BigInt(this.#at), 48);
    const locator = Buffer.alloc(20);
    locator.writeUInt32LE(0x07064b50);
    locator.writeBigUInt64LE(BigInt(this.#at + size), 8);
    locator.writeUInt32LE(1, 16);
    const end = Buffer.alloc(22, 0xff);
    end.writeUInt32LE(0x06054b50);
    end.writeUInt16LE(0, 20);
    return Buffer.concat([...this.#directory, end64, locator, end]);
  }
}

/** A whole file in memory. `storages`: the bytes by key. `sums`: false leaves the CRC-32 of all entries out. */
export function torchFile(
  tensors: readonly TorchTensor[],
  storages: Readonly<Record<string, Uint8Array>>,
  { sums = true }: { readonly sums?: boolean } = {},
): Buffer {
  const zip = new TorchZip();
  const entries: [string, Uint8Array][] = [
    ['archive/data.pkl', torchPickle(tensors)],
    ...Object.entries(storages).map(([key, bytes]): [string, Uint8Array] => [`archive/data/${key}`, bytes]),
    ['archive/version', Buffer.from('3\n')],
  ];
  const parts = entries.flatMap(([name, bytes]) => [zip.entry(name, bytes.length, sums ? crc32(bytes) : 0), bytes]);
  return Buffer.concat([...parts, zip.end()]);
}
