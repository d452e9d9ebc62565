/** A decoder on the card: the self-attention cache of its rows, and one launch of the step kernel for up to 8 columns. */
import type { Decoder, Picked, Pick as PickRule } from '../engine';
import { CapacityError, DisposedError } from '../errors';
import { NotFiniteError, pickFrom } from '../pick';
import { pickedBytes, pickedCount, picksOnCard, readPicked } from './decoder_pick';
import {
  type CrossShape,
  cacheLayerBytes,
  type DecoderAddresses,
  type DecoderShapes,
  MAX_COLUMNS,
  matrixBytes,
  partialFloats,
  RESULT_BYTES,
} from './decoder_shapes';
import { CudaShapeError } from './errors';
import type { DevicePtr } from './seams';
import type { StepRunner } from './step_runner';

/** The source's keys and values, packed for the step kernel. */
export interface CrossMemory {
  readonly tokens: number;
  readonly address: DevicePtr;
  readonly shape: CrossShape;
}

export class CudaDecoder implements Decoder {
  readonly rows: number;
  readonly #runner: StepRunner;
  /** Runs work on the card, so that the engine learns of a lost context. */
  readonly #guard: <T>(work: () => T) => T;
  readonly #capacity: number;
  readonly #addresses: DecoderAddresses;
  readonly #owned: DevicePtr[] = [];
  /** Which row's cache holds row r's token i, at [r * capacity + i]; on the card once rows were reordered. */
  #rowOf = new Uint8Array(0);
  #reordered = false;
  #length = 0;
  #disposed = false;

  constructor(runner: StepRunner, memory: CrossMemory, rows: number, capacity: number, guard: <T>(work: () => T) => T) {
    const { driver, shapes } = runner;
    if (rows > 256) throw new RangeError(`A decoder has at most 256 rows, not ${rows}.`);
    if (rows * shapes.config.numHeads * capacity >= 2 ** 31) throw new CudaShapeError('its cache would be too large');
    this.#runner = runner;
    this.#guard = guard;
    this.rows = rows;
    this.#capacity = capacity;
    const alloc = (bytes: number): DevicePtr => {
      const address = driver.alloc(bytes, `a decoder of ${rows} rows of ${capacity} tokens`);
      this.#owned.push(address);
      return address;
    };
    try {
      const cacheBytes = cacheLayerBytes(shapes, rows, capacity) * shapes.config.decoderLayers;
      this.#addresses = {
        keys: alloc(cacheBytes),
        values: alloc(cacheBytes),
        partial: alloc(partialFloats(shapes, capacity) * 4),
        rowOf: alloc(rows * capacity),
        cross: memory.address,
        crossShape: memory.shape,
        sourceTokens: memory.tokens,
        rows,
        capacity,
      };
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  get length(): number {
    return this.#length;
  }

  async step(tokens: Int32Array, perRow: number, pick: PickRule): Promise<Picked> {
    this.#check();
    const { shapes } = this.#runner;
    const { vocabSize } = shapes.config;
    const total = this.rows * perRow;
    if (perRow < 1 || tokens.length !== total) {
      throw new RangeError(`${tokens.length} tokens are not ${this.rows} rows of ${perRow}.`);
    }
    checkIds(tokens, vocabSize);
    if (this.#length + perRow > this.#capacity) throw new CapacityError(this.#capacity, this.#length + perRow);
    if (pick.kind === 'score') {
      if (pick.targets.length !== total) throw new RangeError(`${pick.targets.length} targets for ${total} positions.`);
      checkIds(pick.targets, vocabSize);
    }
    if (pick.kind === 'sample' && pick.uniforms.length !== total)
      throw new RangeError(`${pick.uniforms.length} draws for ${total} positions.`);
    const onCard = picksOnCard(pick);
    const count = onCard ? pickedCount(pick, vocabSize) : 1;
    const whole = !onCard && pick.kind !== 'argmax' && pick.kind !== 'score';
    const logits = new Float32Array(whole ? total * vocabSize : 0);
    const ids = new Int32Array(onCard || pick.kind === 'argmax' ? total * count : 0);
    const logprobs = new Float32Array(whole ? 0 : total * count);
    this.#guard(() => {
      for (let first = 0; first < total; first += MAX_COLUMNS) {
        const columns = Math.min(MAX_COLUMNS, total - first);
        this.#runner.launch(this.#addresses, {
          tokens: tokens.subarray(first, first + columns),
          targets: pick.kind === 'score' ? pick.targets.subarray(first, first + columns) : undefined,
          first,
          perRow,
          length: this.#length,
          reordered: this.#reordered,
        });
        if (whole) {
          this.#logits(logits, first, columns);
        } else if (onCard) {
          this.#runner.pick(pick, first, columns);
          const bytes = new Uint8Array(pickedBytes(columns, count));
          this.#runner.driver.download(bytes, this.#runner.addresses.picked);
          readPicked(bytes, count, first, { ids, logprobs });
        } else {
          this.#results(first, columns, pick.kind === 'argmax' ? ids : undefined, logprobs);
        }
      }
    });
    this.#length += perRow;
    if (whole) return pickFrom(logits, vocabSize, pick);
    if (!logprobs.every(Number.isFinite)) throw new NotFiniteError();
    return { ids, logprobs };
  }

  async reorder(parents: Int32Array): Promise<void> {
    this.#check();
    if (parents.length !== this.rows) throw new RangeError(`${parents.length} parents for ${this.rows} rows.`);
    for (const parent of parents) if (parent < 0 || parent >= this.rows) throw new RangeError(`No row ${parent}.`);
    if (this.#length === 0 || parents.every((parent, row) => parent === row)) return;
    // Tokens stay where they are; only who reads them changes. A row writes its new tokens into its own cache, at places
    // beyond everything that any row reads.
    if (this.#rowOf.length === 0) {
      this.#rowOf = new Uint8Array(this.rows * this.#capacity);
      for (let row = 0; row < this.rows; row++) this.#ownRow(row, 0);
    }
    const old = this.#rowOf.slice();
    for (const [row, parent] of parents.entries()) {
      const from = parent * this.#capacity;
      this.#rowOf.set(old.subarray(from, from + this.#length), row * this.#capacity);
    }
    this.#reordered = true;
    this.#guard(() => this.#runner.driver.upload(this.#addresses.rowOf, this.#rowOf));
  }

  async truncate(length: number): Promise<void> {
    this.#check();
    if (length < 0 || length > this.#length)
      throw new RangeError(`${length} of ${this.#length} tokens cannot be kept.`);
    this.#length = length;
    if (!this.#reordered) return;
    for (let row = 0; row < this.rows; row++) {
      this.#ownRow(row, length);
    }
    this.#guard(() => this.#runner.driver.upload(this.#addresses.rowOf, this.#rowOf));
  }

  /** From token `from` on, `row` reads its own cache. */
  #ownRow(row: number, from: number): void {
    this.#rowOf.fill(row, row * this.#capacity + from, (row + 1) * this.#capacity);
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const address of this.#owned.splice(0)) this.#runner.driver.free(address);
  }

  #results(first: number, count: number, ids: Int32Array | undefined, logprobs: Float32Array): void {
    const { driver, addresses } = this.#runner;
    const bytes = new Uint8Array(count * RESULT_BYTES);
    driver.download(bytes, addresses.results);
    const view = new DataView(bytes.buffer);
    for (let i = 0; i < count; i++) {
      const at = i * RESULT_BYTES;
      if (ids) ids[first + i] = view.getInt32(at, true);
      logprobs[first + i] = view.getFloat32(at + (ids ? 4 : 8), true);
    }
  }

  #logits(into: Float32Array, first: number, count: number): void {
    const { driver, addresses, shapes } = this.#runner;
    const { vocabSize } = shapes.config;
    const stride = shapes.head.tiles * 16;
    for (let i = 0; i < count; i++) {
      const at = (first + i) * vocabSize;
      driver.download(into.subarray(at, at + vocabSize), addresses.logits + BigInt(i * stride * 4));
    }
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError('decoder');
  }
}

/** Bytes of weights that one step reads: all layers and the output layer. */
export function stepWeightBytes(shapes: DecoderShapes): number {
  return shapes.layerBytes * shapes.config.decoderLayers + matrixBytes(shapes.head);
}

export function checkIds(ids: Int32Array, vocabSize: number): void {
  for (const id of ids)
    if (id < 0 || id >= vocabSize) throw new RangeError(`No token ${id} in a vocabulary of ${vocabSize}.`);
}
