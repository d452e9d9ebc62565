/** How the rows of one tensor become the bytes of a weight file. */
import { BLOCK, paddedK, type TensorSpec } from './layout';
import { columnsOf, scalesName, type TensorErrorEntry } from './plan';
import { errorOf, quantizeRows, UnquantizableError } from './quantize';
import type { WeightWriter } from './writer';

/** Where the rows of one tensor go. Two buffers in turn: one is still being written while the other is filled. */
export interface Sink {
  add(row: number, rows: number, values: Float32Array): Promise<void>;
  end(): void;
}

export class QuantizedSink implements Sink {
  readonly #spec: TensorSpec;
  readonly #k: number;
  readonly #padded: number;
  readonly #writer: WeightWriter;
  readonly #errors: TensorErrorEntry[];
  readonly #sums = { squares: 0, errorSquares: 0, maxError: 0 };
  #buffers: { readonly bytes: Uint8Array; readonly scales: Uint16Array }[] = [];

  constructor(spec: TensorSpec, writer: WeightWriter, errors: TensorErrorEntry[]) {
    this.#spec = spec;
    this.#k = columnsOf(spec);
    this.#padded = paddedK(this.#k);
    this.#writer = writer;
    this.#errors = errors;
  }

  async add(row: number, rows: number, values: Float32Array): Promise<void> {
    const blocks = this.#padded / BLOCK;
    let buffer = this.#buffers.length === 2 ? this.#buffers.shift() : undefined;
    // The first portion is the largest one.
    buffer ??= { bytes: new Uint8Array(rows * this.#padded), scales: new Uint16Array(rows * blocks) };
    this.#buffers.push(buffer);
    const bytes = buffer.bytes.subarray(0, rows * this.#padded);
    const scales = buffer.scales.subarray(0, rows * blocks);
    quantizeRows(values, rows, this.#k, bytes, scales, this.#sums);
    await this.#writer.write(this.#spec.name, row * this.#padded, bytes);
    const scaleBytes = new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength);
    await this.#writer.write(scalesName(this.#spec.name), row * blocks * 2, scaleBytes);
  }

  end(): void {
    const { name, relativeRms, maxError } = errorOf(this.#spec.name, this.#sums);
    this.#errors.push([name, Number(relativeRms.toPrecision(4)), Number(maxError.toPrecision(4))]);
  }
}

export class PlainSink implements Sink {
  readonly #spec: TensorSpec;
  readonly #k: number;
  readonly #writer: WeightWriter;

  constructor(spec: TensorSpec, writer: WeightWriter) {
    this.#spec = spec;
    this.#k = columnsOf(spec);
    this.#writer = writer;
  }

  async add(row: number, _rows: number, values: Float32Array): Promise<void> {
    for (let i = 0; i < values.length; i++) {
      const v = values[i]!;
      if (v - v !== 0) throw new UnquantizableError(Math.floor(i / this.#k), i % this.#k, v);
    }
    // The source fills its buffer anew while this portion may still be on its way to the disk.
    const bytes = new Uint8Array(values.slice().buffer);
    await this.#writer.write(this.#spec.name, row * this.#k * 4, bytes);
  }

  end(): void {}
}
