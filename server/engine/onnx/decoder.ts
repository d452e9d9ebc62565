/** A decoder over one memory: the self-attention cache of all rows, grown by every step. */
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import type { T5Config } from '../../weights/config';
import type { Decoder, Pick, Picked } from '../engine';
import { CapacityError, DisposedError, EngineError } from '../errors';
import { pickFrom } from '../pick';
import { keyName, pastKeyName, pastValueName, valueName } from './graphs';
import { HostOutputs } from './host-outputs';
import { decoderBuckets } from './positions';
import type { Ort, Tensors } from './session';

export interface DecoderParts {
  readonly ort: Ort;
  readonly config: T5Config;
  readonly step: InferenceSession;
  /** Opened at the first reorder or truncate; most requests need neither. */
  readonly cache: () => Promise<InferenceSession>;
  /** The outputs stay on a device; otherwise they are written into memory of the host. */
  readonly onDevice: boolean;
  /** Cross keys and values, owned by the memory. */
  readonly cross: () => Tensors;
}

export class OnnxDecoder implements Decoder {
  readonly rows: number;
  readonly #capacity: number;
  readonly #parts: DecoderParts;
  /** Keys and values by their names as inputs of a step. */
  #past: Tensors;
  readonly #outputs: HostOutputs | undefined;
  #length = 0;
  #disposed = false;

  constructor(parts: DecoderParts, rows: number, capacity: number) {
    this.#parts = parts;
    this.rows = rows;
    this.#capacity = capacity;
    this.#past = emptyCache(parts, rows);
    this.#outputs = parts.onDevice ? undefined : new HostOutputs(parts.ort, parts.config, rows, capacity);
  }

  get length(): number {
    return this.#length;
  }

  async step(tokens: Int32Array, perRow: number, pick: Pick): Promise<Picked> {
    this.#check();
    const { ort, config, step, cross } = this.#parts;
    if (perRow < 1 || tokens.length !== this.rows * perRow) {
      throw new RangeError(`${tokens.length} tokens are not ${this.rows} rows of ${perRow}.`);
    }
    checkIds(tokens, config.vocabSize);
    const past = this.#length;
    if (past + perRow > this.#capacity) throw new CapacityError(this.#capacity, past + perRow);

    const shape = BigInt64Array.of(BigInt(this.rows), BigInt(perRow), BigInt(config.numHeads * config.dKv));
    const buckets = decoderBuckets(past, perRow, config);
    const feeds = {
      ...this.#past,
      ...cross(),
      ids: new ort.Tensor('int32', tokens, [this.rows, perRow]),
      shape: new ort.Tensor('int64', shape, [3]),
      buckets: new ort.Tensor('int32', buckets, [perRow, past + perRow]),
    };
    const into = this.#outputs && { ...this.#outputs.cache(past + perRow), ...this.#outputs.logits(perRow) };
    const outputs = await run(step, feeds, into);
    const logits = outputs['logits'];
    if (!(logits?.data instanceof Float32Array)) throw new TypeError('The decoder gave no logits.');
    this.#replace(outputs);
    this.#length = past + perRow;
    // Whole logits leave this decoder; all else is taken from memory that the next step writes again.
    if (pick.kind === 'logits') return pickFrom(logits.data.slice(), config.vocabSize, pick);
    return pickFrom(logits.data, config.vocabSize, pick);
  }

  async reorder(parents: Int32Array): Promise<void> {
    this.#check();
    if (parents.length !== this.rows) throw new RangeError(`${parents.length} parents for ${this.rows} rows.`);
    for (const parent of parents) if (parent < 0 || parent >= this.rows) throw new RangeError(`No row ${parent}.`);
    if (this.#length > 0 && parents.some((parent, row) => parent !== row)) await this.#select(parents, this.#length);
  }

  async truncate(length: number): Promise<void> {
    this.#check();
    if (length < 0 || length > this.#length)
      throw new RangeError(`${length} of ${this.#length} tokens cannot be kept.`);
    if (length === this.#length) return;
    if (length === 0) {
      for (const tensor of Object.values(this.#past)) tensor.dispose();
      this.#past = emptyCache(this.#parts, this.rows);
    } else {
      await this.#select(
        Int32Array.from({ length: this.rows }, (_, row) => row),
        length,
      );
    }
    this.#length = length;
  }

  dispose(): void {
    if (this.#disposed) return;
    this.#disposed = true;
    for (const tensor of Object.values(this.#past)) tensor.dispose();
    this.#past = {};
  }

  async #select(parents: Int32Array, length: number): Promise<void> {
    const { ort, cache } = this.#parts;
    const feeds = {
      ...this.#past,
      parents: new ort.Tensor('int32', parents, [this.rows]),
      length: new ort.Tensor('int64', BigInt64Array.of(BigInt(length)), [1]),
    };
    const outputs = await run(await cache(), feeds, this.#outputs?.cache(length));
    this.#replace(outputs);
  }

  /** Takes new keys and values from a session's outputs and frees the old ones. */
  #replace(outputs: Tensors): void {
    const next: Tensors = {};
    for (let layer = 0; layer < this.#parts.config.decoderLayers; layer++) {
      const key = outputs[keyName(layer)];
      const value = outputs[valueName(layer)];
      if (key === undefined || value === undefined) throw new TypeError(`No cache of layer ${layer} came back.`);
      next[pastKeyName(layer)] = key;
      next[pastValueName(layer)] = value;
    }
    for (const tensor of Object.values(this.#past)) tensor.dispose();
    this.#past = next;
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError('decoder');
  }
}

/** `session.run` with our error, into tensors that are there already or into new ones. It blocks the thread until it is done. */
export async function run(session: InferenceSession, feeds: Tensors, into?: Tensors): Promise<Tensors> {
  try {
    return (await (into === undefined ? session.run(feeds) : session.run(feeds, into))) as Tensors;
  } catch (error) {
    throw new EngineError('The model failed to run', error);
  }
}

export function checkIds(ids: Int32Array, vocabSize: number): void {
  for (const id of ids)
    if (id < 0 || id >= vocabSize) throw new RangeError(`No token ${id} in a vocabulary of ${vocabSize}.`);
}

function emptyCache({ ort, config }: DecoderParts, rows: number): Tensors {
  const empty = (): Tensor => new ort.Tensor('float32', new Float32Array(0), [rows, config.numHeads, 0, config.dKv]);
  const past: Tensors = {};
  for (let layer = 0; layer < config.decoderLayers; layer++) {
    past[pastKeyName(layer)] = empty();
    past[pastValueName(layer)] = empty();
  }
  return past;
}
