/**
 * Memory of the host that a CPU session writes a step's outputs into. Left to ONNX Runtime, every step would get new
 * memory that is free again only when the garbage collector finds it: for a large model a gigabyte in a few steps.
 */
import type { T5Config } from '../../weights/config';
import { keyName, valueName } from './graphs';
import type { Ort, Tensors } from './session';

/** Tokens that the first buffers hold. */
const FIRST_ROOM = 64;

export class HostOutputs {
  readonly #ort: Ort;
  readonly #config: T5Config;
  readonly #rows: number;
  readonly #capacity: number;
  /** Two sets of buffers by turns: a step reads one and writes the other. */
  #sets: readonly [Float32Array[], Float32Array[]] = [[], []];
  #turn: 0 | 1 = 0;
  #room = 0;
  #logits = new Float32Array(0);

  constructor(ort: Ort, config: T5Config, rows: number, capacity: number) {
    this.#ort = ort;
    this.#config = config;
    this.#rows = rows;
    this.#capacity = capacity;
  }

  /** Tensors for keys and values of `length` tokens, in memory that the cache before them does not use. */
  cache(length: number): Tensors {
    const { numHeads, dKv, decoderLayers } = this.#config;
    const width = this.#rows * numHeads * dKv;
    if (length > this.#room) {
      this.#room = Math.min(this.#capacity, Math.max(FIRST_ROOM, 2 * length));
      const buffers = () => Array.from({ length: 2 * decoderLayers }, () => new Float32Array(width * this.#room));
      this.#sets = [buffers(), buffers()];
    }
    this.#turn = this.#turn === 0 ? 1 : 0;
    const names = Array.from({ length: decoderLayers }, (_, layer) => [keyName(layer), valueName(layer)]).flat();
    const tensors: Tensors = {};
    for (const [i, name] of names.entries()) {
      const buffer = this.#sets[this.#turn][i];
      if (buffer === undefined) throw new RangeError(`No buffer for ${name}.`);
      const data = buffer.subarray(0, width * length);
      tensors[name] = new this.#ort.Tensor('float32', data, [this.#rows, numHeads, length, dKv]);
    }
    return tensors;
  }

  /** A tensor for the logits of `perRow` tokens a row; it is written again by the next step. */
  logits(perRow: number): Tensors {
    const { vocabSize } = this.#config;
    const size = this.#rows * perRow * vocabSize;
    if (this.#logits.length < size) this.#logits = new Float32Array(size);
    const data = this.#logits.subarray(0, size);
    return { logits: new this.#ort.Tensor('float32', data, [this.#rows, perRow, vocabSize]) };
  }
}
