/** An int8 weight file as a source of float32 tensors. */
import type { Rows, StoredRows, TensorSource } from './checkpoint';
import { TensorError } from './errors';
import { verifyWeightFile, type WeightFile } from './file';
import { BLOCK, paddedK, type TensorSpec } from './layout';
import { columnsOf, rowsOf, scalesName } from './plan';
import { dequantizeRows } from './quantize';
import { SafetensorsFile } from './safetensors';
import type { CancelSignal } from './small';

const PIECE_BYTES = 1024 * 1024;

export class DequantizedFile implements TensorSource {
  readonly file: WeightFile;
  readonly #data: SafetensorsFile;

  private constructor(file: WeightFile, data: SafetensorsFile) {
    this.file = file;
    this.#data = data;
  }

  /** Opens an int8 weight file and reads it through once, to know that it is whole. Throws as `openWeightFile`. */
  static async open(path: string, signal?: CancelSignal): Promise<DequantizedFile> {
    const file = await verifyWeightFile(path, signal ? { signal } : {});
    return new DequantizedFile(file, await SafetensorsFile.open(path));
  }

  fileOf(): string {
    return this.file.path;
  }

  check(specs: readonly TensorSpec[]): void {
    for (const spec of specs) {
      const matrix = spec.kind === 'matrix';
      const expected = matrix ? [rowsOf(spec), paddedK(columnsOf(spec))] : spec.shape;
      const info = this.#data.tensors.get(spec.name);
      if (!info || info.dtype !== (matrix ? 'U8' : 'F32') || info.shape.join() !== expected.join()) {
        throw new TensorError(
          spec.name,
          this.file.path,
          'is not what config.json asks for. Weights and config.json must be of the same model.',
        );
      }
    }
  }

  async *rows(spec: TensorSpec, signal?: CancelSignal): AsyncGenerator<Rows, void, void> {
    const k = columnsOf(spec);
    if (spec.kind === 'vector') {
      const bytes = await this.#data.read(spec.name);
      yield { row: 0, rows: rowsOf(spec), values: new Float32Array(bytes.buffer, bytes.byteOffset, bytes.length / 4) };
      return;
    }
    const padded = paddedK(k);
    const blocks = padded / BLOCK;
    const pieceRows = Math.max(1, Math.floor(PIECE_BYTES / padded));
    const target = new Float32Array(Math.min(pieceRows, rowsOf(spec)) * k);
    const scalesInfo = this.#data.info(scalesName(spec.name));
    for await (const piece of this.#data.pieces(spec.name, pieceRows * padded, signal)) {
      const row = piece.offset / padded;
      const rows = piece.bytes.length / padded;
      const scales = new Uint16Array(rows * blocks);
      await this.#data.readInto(new Uint8Array(scales.buffer), scalesInfo, row * blocks * 2);
      const values = target.subarray(0, rows * k);
      dequantizeRows(piece.bytes, scales, rows, k, values);
      yield { row, rows, values };
    }
  }

  async *stored(spec: TensorSpec, signal?: CancelSignal): AsyncGenerator<StoredRows, void, void> {
    for await (const { row, rows, values } of this.rows(spec, signal)) {
      yield { row, rows, dtype: 'F32', bytes: new Uint8Array(values.buffer, values.byteOffset, values.byteLength) };
    }
  }

  async close(): Promise<void> {
    await this.#data.close();
  }
}
