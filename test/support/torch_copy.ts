/** The same tensors as PyTorch files, for checkpoints that lie in safetensors files. */
import { type TorchTensor, torchFile } from './torch_file';

const TYPES: Readonly<Record<string, readonly [type: string, size: number]>> = {
  F32: ['Float', 4],
  F16: ['Half', 2],
  BF16: ['BFloat16', 2],
};

interface Entry {
  readonly dtype: string;
  readonly shape: number[];
  readonly data_offsets: readonly [number, number];
}

/**
 * The tensors of some safetensors files as one PyTorch file.
 *
 * @param turned whether matrices are stored transposed, as views with turned strides.
 */
export function asTorchFile(files: readonly Buffer[], { turned }: { readonly turned: boolean }): Buffer {
  const listed: TorchTensor[] = [];
  const storages: Record<string, Uint8Array> = {};
  for (const file of files) {
    const start = 8 + Number(file.readBigUInt64LE());
    const header = JSON.parse(file.toString('utf8', 8, start)) as Record<string, Entry>;
    for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
      if (name === '__metadata__') continue;
      const [type, size] = TYPES[dtype] ?? ['', 1];
      const [from, to] = offsets;
      const key = `${listed.length}`;
      const turn = turned && shape.length === 2;
      const bytes = file.subarray(start + from, start + to);
      storages[key] = turn ? transposed(bytes, size, shape[0] ?? 1, shape[1] ?? 1) : bytes;
      const storage = { key, type, count: bytes.length / size };
      listed.push({ name, storage, shape, ...(turn ? { strides: [1, shape[0] ?? 1] } : {}) });
    }
  }
  return torchFile(listed, storages);
}

function transposed(bytes: Uint8Array, size: number, rows: number, columns: number): Uint8Array {
  const out = new Uint8Array(bytes.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      out.set(bytes.subarray((i * columns + j) * size, (i * columns + j + 1) * size), (j * rows + i) * size);
  return out;
}
