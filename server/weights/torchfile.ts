/**
 * Reads the weights in PyTorch files (`pytorch_model.bin`): a zip of a pickled dictionary and the bytes of every storage,
 * or, from before PyTorch 1.6, several pickles and then the storages one after another. No Python code of a file is run.
 */
import { createHash } from 'node:crypto';
import { TorchFileError } from './errors';
import { Global, PickleError, type PickleHost, unpickle } from './pickle';
import { show } from './small';
import {
  DTYPE_BYTES,
  type DType,
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
  readonly count: number;

  constructor(key: string, dtype: DType, count: number) {
    this.key = key;
    this.dtype = dtype;
    this.count = count;
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
  const { pickle, value, places } = await guarded(path, () =>
    start.equals(LEGACY_START) ? readLegacy(file) : readArchive(file),
  );
  const tensors = new Map<string, TensorInfo>();
  if (!(value instanceof Map)) throw problem(path, 'it holds no dictionary of tensors.');
  for (const [name, tensor] of value) {
    if (typeof name === 'string' && tensor instanceof Tensor) tensors.set(name, infoOf(path, name, tensor, places));
  }
  return new TensorFile(file, tensors, createHash('sha256').update(pickle).digest('hex'), problem);
}

interface Contents {
  readonly pickle: Uint8Array;
  readonly value: unknown;
  /** Where the bytes of every storage are. */
  readonly places: ReadonlyMap<string, { readonly offset: number; readonly bytes: number }>;
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
  const places = new Map<string, { offset: number; bytes: number }>();
  for (const [name, entry] of entries) {
    if (name.startsWith(`${folder}data/`)) places.set(name.slice(folder.length + 'data/'.length), entry);
  }
  return { pickle, value: unpickle(pickle, 0, host).value, places };
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
  const places = new Map<string, { offset: number; bytes: number }>();
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
    const [kind, type, key, , count] = Array.isArray(id) ? id : [];
    const dtype = type instanceof Global && Object.hasOwn(STORAGES, type.name) ? STORAGES[type.name] : undefined;
    if (kind !== 'storage' || typeof key !== 'string' || !isCount(count))
      throw new PickleError('has a storage that is damaged');
    if (!dtype) throw new PickleError(`has a storage of type ${type instanceof Global ? show(type.name) : 'unknown'}`);
    return new Storage(key, dtype, count);
  },
  call(name, args) {
    switch (name) {
      case 'collections.OrderedDict':
        return new Map();
      case 'torch._utils._rebuild_parameter':
        return args[0];
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
  let expected = 1;
  for (let d = shape.length - 1; d >= 0; d--) {
    if ((shape[d] ?? 0) > 1 && strides[d] !== expected) throw fail('is stored transposed, which is not read');
    expected *= shape[d] ?? 0;
  }
  const offset = place.offset + start * size;
  if (start * size + bytes > place.bytes) throw fail('lies beyond its storage');
  return { name, dtype: storage.dtype, shape, offset, bytes };
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/** No tensor in use has more dimensions; a longer list is damaged. */
function areCounts(value: unknown): value is number[] {
  return Array.isArray(value) && value.length <= 8 && value.every(isCount);
}
