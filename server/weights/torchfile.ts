/**
 * Reads the weights in PyTorch files (`pytorch_model.bin`): a zip of a pickled dictionary and the bytes of every storage,
 * or, from before PyTorch 1.6, several pickles and then the storages one after another. No Python code of a file is run.
 */
import { createHash } from 'node:crypto';
import { crc32 } from './crc32';
import { TorchFileError } from './errors';
import { Global, PickleError, type PickleHost, unpickle } from './pickle';
import { MAX_REPEATED_BYTES, MAX_SPAN_BYTES, scattered } from './scattered';
import { humanBytes, show } from './small';
import {
  DTYPE_BYTES,
  type DType,
  type EntrySum,
  type FileProblem,
  type OpenFile,
  readFully,
  TensorFile,
  type TensorInfo,
  withFile,
} from './tensorfile';
import { readZip } from './zip';

/** A tensor takes some 300 bytes of the pickle; the largest T5 has under 1000. */
const MAX_PICKLE_BYTES = 16 * 1024 * 1024;

/** What files from before PyTorch 1.6 begin with: their magic number, pickled. */
const LEGACY_START = Buffer.from('80028a0a6cfc9c46f9206aa850192e', 'hex');

const STORAGES: Readonly<Record<string, DType>> = {
  'torch.DoubleStorage': 'F64',
  'torch.FloatStorage': 'F32',
  'torch.HalfStorage': 'F16',
  'torch.BFloat16Storage': 'BF16',
  'torch.LongStorage': 'I64',
  'torch.IntStorage': 'I32',
  'torch.ShortStorage': 'I16',
  'torch.CharStorage': 'I8',
  'torch.ByteStorage': 'U8',
  'torch.BoolStorage': 'BOOL',
};

class Storage {
  readonly key: string;
  readonly dtype: DType;
  /** Elements of all that lies under the key. */
  readonly count: number;
  /** The elements that are meant: old files have storages that are a part of another one. */
  readonly part: { readonly from: number; readonly count: number };

  constructor(key: string, dtype: DType, count: number, part = { from: 0, count }) {
    this.key = key;
    this.dtype = dtype;
    this.count = count;
    this.part = part;
  }
}

class Tensor {
  readonly storage: Storage;
  /** In elements. */
  readonly start: number;
  readonly shape: readonly number[];
  readonly strides: readonly number[];

  constructor(storage: Storage, start: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.start = start;
    this.shape = shape;
    this.strides = strides;
  }
}

const problem: FileProblem = (file, text) => new TorchFileError(file, text);

/**
 * Opens a PyTorch file and finds its tensors; entries of the dictionary that are no tensors are passed over.
 *
 * @throws TorchFileError when it is missing, damaged, cut short, or holds anything but a dictionary of tensors.
 */
export function openTorchFile(path: string): Promise<TensorFile> {
  return withFile(path, problem, readTorchFile);
}

/** Finds the tensors of a PyTorch file that is open. Throws as `openTorchFile`, and leaves the file open. */
export async function readTorchFile(file: OpenFile): Promise<TensorFile> {
  const { path } = file;
  const start = Buffer.alloc(Math.min(LEGACY_START.length, file.fileBytes));
  await readFully(file.handle, start, 0, path, problem);
  const { pickle, value, places, check } = await guarded(path, () =>
    start.equals(LEGACY_START) ? readLegacy(file) : readArchive(file),
  );
  const tensors = new Map<string, TensorInfo>();
  if (!(value instanceof Map)) throw problem(path, 'it holds no dictionary of tensors.');
  for (const [name, tensor] of value) {
    if (typeof name === 'string' && tensor instanceof Tensor) tensors.set(name, infoOf(path, name, tensor, places));
  }
  await check?.();
  return new TensorFile(file, tensors, createHash('sha256').update(pickle).digest('hex'), problem);
}

interface Contents {
  readonly pickle: Uint8Array;
  readonly value: unknown;
  /** Where the bytes of every storage are. */
  readonly places: ReadonlyMap<string, Place>;
  /** Compares the sums of what was read. Last: what is wrong with the content says more. */
  readonly check?: () => Promise<void>;
}

interface Place {
  readonly offset: number;
  readonly bytes: number;
  readonly sum?: EntrySum;
}

async function guarded<T>(path: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof PickleError) throw problem(path, `the list of its tensors ${error.message}.`);
    throw error;
  }
}

async function readArchive(file: OpenFile): Promise<Contents> {
  const entries = await readZip(file, problem);
  const listName = [...entries.keys()].find((name) => /^[^/]+\/data\.pkl$/.test(name));
  const list = listName === undefined ? undefined : entries.get(listName);
  if (listName === undefined || !list) throw problem(file.path, 'it is a zip file without tensors.');
  const folder = listName.slice(0, -'data.pkl'.length);
  const order = entries.get(`${folder}byteorder`);
  if (order && (await read(file, order.offset, order.bytes)).toString() !== 'little') {
    throw problem(file.path, 'its numbers are big-endian, which is not read.');
  }
  const pickle = await read(file, list.offset, list.bytes);
  const places = new Map<string, Place>();
  for (const [name, { offset, bytes, crc32: expected }] of entries) {
    if (!name.startsWith(`${folder}data/`)) continue;
    const sum = expected === undefined || file.summed ? {} : { sum: { name, offset, bytes, crc32: expected } };
    places.set(name.slice(folder.length + 'data/'.length), { offset, bytes, ...sum });
  }
  const check = async () => {
    if (list.crc32 === undefined || crc32(pickle) === list.crc32) return;
    throw problem(file.path, `its entry ${show(listName)} is damaged: its checksum (CRC-32) is another one.`);
  };
  return { pickle, value: unpickle(pickle, 0, host).value, places, check };
}

/** Magic number, protocol, system, dictionary, list of storages; then each storage: its count in 8 bytes, its elements. */
async function readLegacy(file: OpenFile): Promise<Contents> {
  const pickle = await read(file, 0, Math.min(file.fileBytes, MAX_PICKLE_BYTES));
  const storages = new Map<string, Storage>();
  const recording: PickleHost = {
    ...host,
    persistent: (id) => {
      const storage = host.persistent(id);
      if (storage instanceof Storage) storages.set(storage.key, storage);
      return storage;
    },
  };
  let at = 0;
  const next = () => {
    const { value, end } = unpickle(pickle, at, recording);
    at = end;
    return value;
  };
  const [, , , value, keys] = [next(), next(), next(), next(), next()];
  const header = pickle.subarray(0, at);
  const places = new Map<string, Place>();
  for (const key of Array.isArray(keys) ? keys : []) {
    const storage = typeof key === 'string' ? storages.get(key) : undefined;
    if (!storage || at + 8 > file.fileBytes) throw problem(file.path, 'the file is cut short or damaged.');
    const count = Number((await read(file, at, 8)).readBigUInt64LE());
    const bytes = count * DTYPE_BYTES[storage.dtype];
    if (count !== storage.count || at + 8 + bytes > file.fileBytes) {
      throw problem(file.path, 'the file is cut short or damaged.');
    }
    places.set(storage.key, { offset: at + 8, bytes });
    at += 8 + bytes;
  }
  if (at !== file.fileBytes)
    throw problem(file.path, 'the file is damaged: it is longer than its list of tensors says.');
  return { pickle: header, value, places };
}

async function read(file: OpenFile, offset: number, bytes: number): Promise<Buffer> {
  if (bytes > MAX_PICKLE_BYTES) throw problem(file.path, `the list of its tensors claims ${bytes} bytes.`);
  const buffer = Buffer.alloc(bytes);
  await readFully(file.handle, buffer, offset, file.path, problem);
  return buffer;
}

const host: PickleHost = {
  persistent(id) {
    const [kind, type, key, , count, view] = Array.isArray(id) ? id : [];
    const dtype = type instanceof Global && Object.hasOwn(STORAGES, type.name) ? STORAGES[type.name] : undefined;
    if (kind !== 'storage' || typeof key !== 'string' || !isCount(count))
      throw new PickleError('has a storage that is damaged');
    if (!dtype) throw new PickleError(`has a storage of type ${type instanceof Global ? show(type.name) : 'unknown'}`);
    if (view === undefined || view === null) return new Storage(key, dtype, count);
    const [, from, length] = Array.isArray(view) ? view : [];
    if (!isCount(from) || !isCount(length) || from + length > count)
      throw new PickleError('has a storage that is damaged');
    return new Storage(key, dtype, count, { from, count: length });
  },
  call(name, args) {
    switch (name) {
      case 'collections.OrderedDict':
        return new Map();
      case 'torch._utils._rebuild_parameter':
        return args[0];
      case 'torch._utils._rebuild_tensor':
      case 'torch._utils._rebuild_tensor_v2': {
        const [storage, start, shape, strides] = args;
        if (!(storage instanceof Storage)) throw new PickleError('has a tensor that is damaged');
        if (!isCount(start) || !areCounts(shape) || !areCounts(strides)) {
          throw new PickleError('has a tensor of an impossible size');
        }
        return new Tensor(storage, start, shape, strides);
      }
      default:
        throw new PickleError(`asks to run ${show(name)}, which is not done`);
    }
  },
};

function infoOf(path: string, name: string, tensor: Tensor, places: Contents['places']): TensorInfo {
  const { storage, shape, strides, start } = tensor;
  const fail = (text: string) => problem(path, `tensor ${show(name)} ${text}.`);
  const size = DTYPE_BYTES[storage.dtype];
  const bytes = shape.reduce((product, n) => product * n, size);
  const place = places.get(storage.key);
  if (!place || strides.length !== shape.length) throw fail('is damaged');
  if (!isCount(bytes)) throw fail('has an impossible size');
  // The type that the list gives and the one that the bytes were written in are the same.
  if (storage.count * size !== place.bytes)
    throw fail(`is of ${place.bytes} bytes, but should be of ${storage.count * size}`);
  const spread = bytes === 0 ? undefined : scattered(shape, strides, size);
  const extent = spread?.spanBytes ?? bytes;
  const { part } = storage;
  if (start * size + extent > part.count * size) throw fail('lies beyond its storage');
  if (spread && extent > MAX_SPAN_BYTES) {
    throw fail(`lies scattered over ${humanBytes(extent)}; up to ${humanBytes(MAX_SPAN_BYTES)} are read`);
  }
  if (spread && bytes > Math.max(extent, MAX_REPEATED_BYTES)) throw fail('repeats its values too often');
  const offset = place.offset + (part.from + start) * size;
  const sum = place.sum === undefined ? {} : { sum: place.sum };
  return { name, dtype: storage.dtype, shape, offset, bytes, ...(spread ? { scattered: spread } : {}), ...sum };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** No tensor in use has more dimensions; a longer list is damaged. */
function areCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 8 && value.every(isCount);
}
