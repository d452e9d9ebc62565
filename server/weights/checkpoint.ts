/**
 * A Hugging Face model folder as a source of tensors: `model.safetensors`, or the shards that
 * `model.safetensors.index.json` names; without them, the same of PyTorch's own files. Tensors are streamed in rows as float32; none is held whole.
 */
import { access } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { FlanError } from '../errors';
import { say } from '../saying';
import { NotAModelError, SafetensorsError, TensorError } from './errors';
import { bfloat16ToFloat, halfToFloat } from './halves';
import { paddedK, type TensorSpec } from './layout';
import type { FloatType } from './quantize_portion';
import { SafetensorsFile } from './safetensors';
import { type CancelSignal, errorCode, readSmall, show, TooLargeError } from './small';
import { DTYPE_BYTES, type OpenFile, type TensorFile, type TensorInfo } from './tensorfile';
import { openTorchFile, readTorchFile } from './torchfile';

/** Our own weight file in a pre-quantized folder. */
export const INT8_FILE = 'model.int8.safetensors';

interface Layout {
  readonly name: string;
  /** The file is an index that says which file each tensor is in. */
  readonly sharded: boolean;
  readonly open: (path: string) => Promise<TensorFile>;
  /** The same for a file that is open already. */
  readonly read: (file: OpenFile) => Promise<TensorFile>;
}

const SAFETENSORS = { open: SafetensorsFile.open, read: SafetensorsFile.read } as const;
const TORCH = { open: openTorchFile, read: readTorchFile } as const;

/** The ways in which checkpoints are stored, the best first. */
export const LAYOUTS: readonly Layout[] = [
  { name: 'model.safetensors', sharded: false, ...SAFETENSORS },
  { name: 'model.safetensors.index.json', sharded: true, ...SAFETENSORS },
  { name: 'pytorch_model.bin', sharded: false, ...TORCH },
  { name: 'pytorch_model.bin.index.json', sharded: true, ...TORCH },
];

/** Where the files of a checkpoint are, when that is no folder of this machine. */
export interface CheckpointFiles {
  /** What stands for the folder in messages. */
  readonly name: string;
  has(file: string): Promise<boolean>;
  /** The whole of a small file. */
  text(file: string): Promise<string>;
  open(file: string): Promise<OpenFile>;
}

/** A tensor takes some 100 bytes of an index; the largest T5 has under 1000. */
const MAX_INDEX_BYTES = 16 * 1024 * 1024;

/** Bytes of a tensor that are read at a time: enough for a disk's full speed, and what is made of them stays in the cache. */
const PIECE_BYTES = 1024 * 1024;

/** Some rows of a tensor. The buffer is used again: it is valid until the next rows are asked for. */
export interface Rows {
  readonly row: number;
  readonly rows: number;
  /** float32 [rows, K]; a tensor of one dimension is one row. */
  readonly values: Float32Array;
}

/** Some rows of a tensor as they are stored. The buffer is used again: it is valid until the next but one rows are asked for. */
export interface StoredRows {
  readonly row: number;
  readonly rows: number;
  readonly dtype: FloatType;
  /** `dtype` [rows, K]. */
  readonly bytes: Uint8Array;
}

/** Where the tensors of a model are read from: an original checkpoint or a weight file. */
export interface TensorSource {
  /** The file that holds a tensor, for messages. */
  fileOf(name: string): string;
  /** @throws TensorError for the first tensor that is missing or has another shape or type than it must have. */
  check(specs: readonly TensorSpec[]): void;
  /** A tensor in portions of some rows, as float32. */
  rows(spec: TensorSpec, signal?: CancelSignal): AsyncGenerator<Rows, void, void>;
  /** The same as it is stored. */
  stored(spec: TensorSpec, signal?: CancelSignal): AsyncGenerator<StoredRows, void, void>;
  close(): Promise<void>;
}

/** Names under which checkpoints also store the embedding. transformers keeps one of them when they are the same. */
const EMBEDDINGS = ['shared.weight', 'encoder.embed_tokens.weight', 'decoder.embed_tokens.weight'];

/** The types that weights are read from. Quantized checkpoints of other programs have integer ones. */
const FLOATS: readonly FloatType[] = ['F64', 'F32', 'F16', 'BF16'];

interface Located {
  readonly file: TensorFile;
  readonly info: TensorInfo;
}

export class Checkpoint implements TensorSource {
  readonly dir: string;
  readonly files: readonly TensorFile[];
  readonly #located: ReadonlyMap<string, Located>;

  private constructor(dir: string, files: readonly TensorFile[], located: ReadonlyMap<string, Located>) {
    this.dir = dir;
    this.files = files;
    this.#located = located;
  }

  /**
   * Opens all files of a checkpoint and checks their headers.
   *
   * @throws NotAModelError without safetensors weights; SafetensorsError or TensorError for damaged or missing parts.
   */
  static open(dir: string): Promise<Checkpoint> {
    return Checkpoint.#from(dir, {
      has: (name) => exists(join(dir, name)),
      index: (name) =>
        readIndex(join(dir, name), async (path) => (await readSmall(path, MAX_INDEX_BYTES)).toString('utf8')),
      open: (layout, name) => layout.open(join(dir, name)),
    });
  }

  /** The same of files that lie elsewhere. Throws as `open`, and what `files` throws. */
  static read(files: CheckpointFiles): Promise<Checkpoint> {
    return Checkpoint.#from(files.name, {
      has: (name) => files.has(name),
      index: (name) => readIndex(join(files.name, name), () => files.text(name)),
      open: async (layout, name) => layout.read(await files.open(name)),
    });
  }

  static async #from(
    dir: string,
    from: {
      readonly has: (name: string) => Promise<boolean>;
      readonly index: (name: string) => Promise<Map<string, string>>;
      readonly open: (layout: Layout, name: string) => Promise<TensorFile>;
    },
  ): Promise<Checkpoint> {
    const layout = await layoutOf(from.has);
    if (!layout) throw noWeights(dir);
    const files = new Map<string, TensorFile>();
    try {
      const located = new Map<string, Located>();
      if (!layout.sharded) {
        const file = await from.open(layout, layout.name);
        files.set(layout.name, file);
        for (const [name, info] of file.tensors) located.set(name, { file, info });
        return new Checkpoint(dir, [file], located);
      }
      const index = await from.index(layout.name);
      for (const shard of new Set(index.values())) files.set(shard, await from.open(layout, shard));
      for (const [name, shard] of index) {
        const file = files.get(shard);
        const info = file?.tensors.get(name);
        if (!file || !info) {
          const path = join(dir, shard);
          const missing = `is missing, though ${layout.name} says it is there. Download both again.`;
          throw new TensorError(show(name), path, missing);
        }
        located.set(name, { file, info });
      }
      return new Checkpoint(dir, [...files.values()], located);
    } catch (error) {
      for (const file of files.values()) await file.close();
      throw error;
    }
  }

  has(name: string): boolean {
    return this.#located.has(name);
  }

  /** Whether the checkpoint has an `lm_head.weight` whose values are not those of its embedding. */
  async outputIsItsOwn(signal?: CancelSignal): Promise<boolean> {
    const head = this.#located.get('lm_head.weight');
    const embedding = EMBEDDINGS.map((name) => this.#located.get(name)).find((found) => found !== undefined);
    if (!head || !embedding) return false;
    // PyTorch files name the same bytes twice.
    const { shape } = head.info;
    const place = ({ offset, scattered }: TensorInfo) => `${offset} ${scattered?.strides.join() ?? ''}`;
    const sameShape = shape.join() === embedding.info.shape.join();
    if (sameShape && head.file === embedding.file && place(head.info) === place(embedding.info)) return false;
    if (shape.length !== 2 || !sameShape) return true;
    const spec = { shape, kind: 'matrix' } as const;
    const ours = this.rows({ ...spec, name: 'lm_head.weight' }, signal);
    const theirs = this.rows({ ...spec, name: 'shared.weight' }, signal);
    try {
      // Both streams come in the same portions unless their types differ, so the portions are matched by hand.
      let b = await theirs.next();
      let used = 0;
      for await (const a of ours) {
        for (let i = 0; i < a.values.length; i++, used++) {
          if (!b.done && used === b.value.values.length) {
            b = await theirs.next();
            used = 0;
          }
          if (b.done || a.values[i] !== b.value.values[used]) return true;
        }
      }
      return false;
    } finally {
      await ours.return();
      await theirs.return();
    }
  }

  /** Where the bytes of a tensor are. @throws TensorError as `check`. */
  placeOf(spec: TensorSpec): { readonly file: TensorFile; readonly info: TensorInfo } {
    return this.#checked(spec);
  }

  fileOf(name: string): string {
    return this.#find(name)?.file.path ?? this.dir;
  }

  check(specs: readonly TensorSpec[]): void {
    for (const spec of specs) this.#checked(spec);
  }

  async *rows(spec: TensorSpec, signal?: CancelSignal): AsyncGenerator<Rows, void, void> {
    let target: Float32Array | undefined;
    for await (const { row, rows, dtype, bytes } of this.stored(spec, signal)) {
      // The first portion is the largest one.
      target ??= new Float32Array(bytes.length / DTYPE_BYTES[dtype]);
      yield { row, rows, values: asFloat(bytes, dtype, target) };
    }
  }

  async *stored(spec: TensorSpec, signal?: CancelSignal): AsyncGenerator<StoredRows, void, void> {
    const { file, info, dtype } = this.#checked(spec);
    const k = spec.shape.at(-1) ?? 1;
    const rowBytes = k * DTYPE_BYTES[dtype];
    // Rows that are shorter than a block take one in int8.
    const pieceRows = Math.max(1, Math.floor(PIECE_BYTES / Math.max(rowBytes, paddedK(k))));
    for await (const { offset, bytes } of file.pieces(info.name, pieceRows * rowBytes, signal)) {
      yield { row: offset / rowBytes, rows: bytes.length / rowBytes, dtype, bytes };
    }
  }

  async close(): Promise<void> {
    for (const file of this.files) await file.close();
  }

  #find(name: string): Located | undefined {
    const found = this.#located.get(name);
    if (found || name !== 'shared.weight') return found;
    // Without any of its own names, the embedding can only be under the output layer's, which then is the same matrix.
    for (const alias of [...EMBEDDINGS, 'lm_head.weight']) {
      const other = this.#located.get(alias);
      if (other) return other;
    }
    return undefined;
  }

  #checked(spec: TensorSpec): Located & { readonly dtype: FloatType } {
    const found = this.#find(spec.name);
    if (!found) {
      throw new TensorError(
        spec.name,
        this.dir,
        'is missing. The download is incomplete, or config.json is of another model.',
      );
    }
    const { file, info } = found;
    if (info.shape.join() !== spec.shape.join()) {
      const shapes = `has shape [${info.shape.join(', ')}], but config.json asks for [${spec.shape.join(', ')}]`;
      throw new TensorError(spec.name, file.path, `${shapes}. Weights and config.json must be of the same model.`);
    }
    const dtype = FLOATS.find((float) => float === info.dtype);
    if (!dtype) {
      const types = `has the type ${info.dtype}; weights are read from ${FLOATS.join(', ')}`;
      throw new TensorError(spec.name, file.path, `${types}. Use the original, unquantized checkpoint.`);
    }
    return { file, info, dtype };
  }
}

/** Views or converts a piece of a tensor; `target` is filled only where the type is not F32 already. */
function asFloat(bytes: Uint8Array, dtype: FloatType, target: Float32Array): Float32Array {
  const count = bytes.length / DTYPE_BYTES[dtype];
  const values = target.subarray(0, count);
  switch (dtype) {
    case 'F32':
      return new Float32Array(bytes.buffer, bytes.byteOffset, count);
    case 'F16':
      halfToFloat(new Uint16Array(bytes.buffer, bytes.byteOffset, count), values);
      return values;
    case 'BF16':
      bfloat16ToFloat(
        new Uint16Array(bytes.buffer, bytes.byteOffset, count),
        new Uint32Array(target.buffer, target.byteOffset, count),
      );
      return values;
    case 'F64':
      values.set(new Float64Array(bytes.buffer, bytes.byteOffset, count));
      return values;
  }
}

async function layoutOf(has: (name: string) => Promise<boolean>): Promise<Layout | undefined> {
  for (const layout of LAYOUTS) if (await has(layout.name)) return layout;
  return undefined;
}

/** Whether the original checkpoint of a folder has an output layer of its own; false where there are no weights yet. */
export async function outputIsItsOwn(dir: string): Promise<boolean> {
  if (!(await hasOriginal(dir))) return false;
  const checkpoint = await Checkpoint.open(dir);
  try {
    return await checkpoint.outputIsItsOwn();
  } finally {
    await checkpoint.close();
  }
}

/** Whether the weight file of a pre-quantized folder holds an output layer; undefined for other folders. */
export async function outputStored(dir: string): Promise<boolean | undefined> {
  if (!(await exists(join(dir, INT8_FILE)))) return undefined;
  const file = await SafetensorsFile.open(join(dir, INT8_FILE));
  await file.close();
  return file.tensors.has('lm_head.weight');
}

/** The form of a model folder, or undefined where there are no weights that can be read. */
export async function formOf(dir: string): Promise<'pre-quantized' | 'original' | undefined> {
  if (await exists(join(dir, INT8_FILE))) return 'pre-quantized';
  return (await hasOriginal(dir)) ? 'original' : undefined;
}

/** Whether a folder has the weights of an original checkpoint. */
export async function hasOriginal(dir: string): Promise<boolean> {
  return (await layoutOf((name) => exists(join(dir, name)))) !== undefined;
}

/** The files that an index names, as `Checkpoint.read` takes them. */
export async function shardsOfIndex(index: string, files: Pick<CheckpointFiles, 'name' | 'text'>): Promise<string[]> {
  const map = await readIndex(join(files.name, index), () => files.text(index));
  return [...new Set(map.values())];
}

/** Reads the map from tensor to shard. Shards lie beside the index: a path that leads elsewhere is refused. */
async function readIndex(path: string, read: (path: string) => Promise<string>): Promise<Map<string, string>> {
  let json: unknown;
  try {
    json = JSON.parse(await read(path));
  } catch (error) {
    if (error instanceof FlanError) throw error;
    if (error instanceof TooLargeError) throw new SafetensorsError(path, `${error.message}.`);
    const problem = errorCode(error) ? `it cannot be read (${errorCode(error)}).` : 'it is not valid JSON.';
    throw new SafetensorsError(path, problem);
  }
  const map = typeof json === 'object' && json !== null && 'weight_map' in json ? json.weight_map : undefined;
  if (typeof map !== 'object' || map === null || Array.isArray(map) || Object.keys(map).length === 0) {
    throw new SafetensorsError(path, 'it has no weight_map.');
  }
  const index = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || shard === '' || shard !== basename(shard) || /[\\/]|\p{Cc}|^\.\.?$/u.test(shard)) {
      throw new SafetensorsError(path, `it sends tensor ${show(name)} to ${show(shard)}, which is no file beside it.`);
    }
    index.set(name, shard);
  }
  return index;
}

function noWeights(dir: string): NotAModelError {
  const names = LAYOUTS.map((layout) => layout.name).join(', ');
  return new NotAModelError(
    say('{0} has no weights: none of {1} is there. Download the model again.', dir, `${names}, ${INT8_FILE}`),
  );
}

async function exists(path: string): Promise<boolean> {
  try {
    await access(path);
    return true;
  } catch (error) {
    // A dangling link to a blob that was removed is a missing file; anything else shows itself when it is opened.
    return errorCode(error) !== 'ENOENT' && errorCode(error) !== 'ENOTDIR';
  }
}
