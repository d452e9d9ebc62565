/** How the rows of one tensor become the bytes of a weight file. */
import type { Rows, StoredRows } from './checkpoint';
import { BLOCK, paddedK, type TensorSpec } from './layout';
import { columnsOf, scalesName, type TensorErrorEntry } from './plan';
import { errorOf, UnquantizableError } from './quantize';
import type { QuantizeJob, Quantizer } from './quantizer';
import type { WeightWriter } from './writer';

/**
 * Quantizes a matrix: while some rows are computed, by whatever threads, the next ones are taken and the ones before are
 * written. Rows are written in their order, and their errors are added in it, so that the file does not depend on threads.
 */
export class QuantizedSink {
  readonly #spec: TensorSpec;
  readonly #k: number;
  readonly #padded: number;
  readonly #writer: WeightWriter;
  readonly #quantizer: Quantizer;
  readonly #factor: number;
  readonly #sums = { squares: 0, errorSquares: 0, maxError: 0 };
  /** Everything that was taken so far, on its way to the file. */
  #order: Promise<void> = Promise.resolve();
  #failed = false;

  /** `factor`: what the weights are multiplied by. */
  constructor(spec: TensorSpec, writer: WeightWriter, quantizer: Quantizer, factor: number) {
    this.#spec = spec;
    this.#k = columnsOf(spec);
    this.#padded = paddedK(this.#k);
    this.#writer = writer;
    this.#quantizer = quantizer;
    this.#factor = factor;
  }

  /** Takes rows over: their bytes may be used again when this resolves. Throws what went wrong with earlier rows. */
  async add({ row, rows, bytes, dtype }: StoredRows): Promise<void> {
    if (this.#failed) return await this.#order;
    const job = await this.#quantizer.submit(bytes, { rows, k: this.#k, dtype, factor: this.#factor });
    this.#order = this.#write(this.#order, row, job);
    this.#order.catch(() => {
      this.#failed = true;
    });
  }

  /** Waits until all rows are written. @returns what the tensor lost. */
  async end(): Promise<TensorErrorEntry> {
    await this.#order;
    const { name, relativeRms, maxError } = errorOf(this.#spec.name, this.#sums);
    return [name, Number(relativeRms.toPrecision(4)), Number(maxError.toPrecision(4))];
  }

  /** Waits until nothing runs any more, whether it went well or not. */
  async settle(): Promise<void> {
    await this.#order.catch(() => {});
  }

  async #write(before: Promise<void>, row: number, job: QuantizeJob): Promise<void> {
    const [earlier, now] = await Promise.allSettled([before, job.done]);
    if (now.status === 'rejected') throw earlier.status === 'rejected' ? earlier.reason : atRow(now.reason, row);
    const { weights, scales, sums, release } = now.value;
    const { name } = this.#spec;
    const settle = [name, scalesName(name)].map((tensor) => () => this.#writer.settle(tensor));
    try {
      if (earlier.status === 'rejected') throw earlier.reason;
      await this.#writer.write(name, row * this.#padded, weights);
      const scaleBytes = new Uint8Array(scales.buffer, scales.byteOffset, scales.byteLength);
      await this.#writer.write(scalesName(name), row * (this.#padded / BLOCK) * 2, scaleBytes);
      for (const one of settle) await one();
    } finally {
      // Also where one of them failed, the other one still reads this memory. It is not kept until the next rows come:
      // those may wait for it.
      for (const one of settle) await one().catch(() => {});
      release();
    }
    this.#sums.squares += sums.squares;
    this.#sums.errorSquares += sums.errorSquares;
    this.#sums.maxError = Math.max(this.#sums.maxError, sums.maxError);
  }
}

/** An error's row within its portion as one within the tensor. */
function atRow(error: unknown, row: number): unknown {
  return error instanceof UnquantizableError
    ? new UnquantizableError(row + error.row, error.column, error.value)
    : error;
}

/** Keeps a tensor in F32. */
export class PlainSink {
  readonly #spec: TensorSpec;
  readonly #k: number;
  readonly #writer: WeightWriter;

  constructor(spec: TensorSpec, writer: WeightWriter) {
    this.#spec = spec;
    this.#k = columnsOf(spec);
    this.#writer = writer;
  }

  async add({ row, values }: Rows): Promise<void> {
    for (let i = 0; i < values.length; i++) {
      const v = values[i]!;
      if (v - v !== 0) throw new UnquantizableError(row + Math.floor(i / this.#k), i % this.#k, v);
    }
    // The source fills its buffer anew while this portion may still be on its way to the disk.
    const bytes = new Uint8Array(values.slice().buffer);
    await this.#writer.write(this.#spec.name, row * this.#k * 4, bytes);
  }
}
