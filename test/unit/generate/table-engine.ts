/**
 * A real, tiny engine for exact tests: its logits are a pure function of the prompt and of the tokens so far. It keeps
 * the caches as the real engines do, checks how it is used, and counts what is freed.
 */
import type { Decoder, Engine, EngineInfo, Memory, Pick, Picked, StopSignal } from '../../../server/engine/engine';
import { CancelledError } from '../../../server/errors';
import type { T5Config } from '../../../server/weights/config';

/** Logits of the next token, float32 [vocabSize], after `prefix` (start token first). */
export type Table = (prompt: readonly number[], prefix: readonly number[]) => Float32Array;

export const EOS = 1;
export const START = 0;

/** A table of pseudo-random logits: FNV-1a over the prompt and the prefix. `eosBias` makes answers shorter or longer. */
export function hashTable(vocabSize: number, eosBias = 0, scale = 4): Table {
  return (prompt, prefix) => {
    let hash = 0x811c9dc5;
    for (const id of [...prompt, -1, ...prefix]) hash = Math.imul(hash ^ (id + 7), 0x01000193) >>> 0;
    const logits = new Float32Array(vocabSize);
    for (let i = 0; i < vocabSize; i++) {
      let x = Math.imul(hash ^ Math.imul(i + 1, 0x9e3779b1), 0x85ebca6b) >>> 0;
      x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35) >>> 0;
      logits[i] = (((x ^ (x >>> 16)) >>> 0) / 2 ** 32) * scale;
    }
    logits[START] = -50;
    logits[EOS] = (logits[EOS] ?? 0) + eosBias;
    return logits;
  };
}

/** Always answers with `answer` (end token included by the caller), whatever was asked; then with the end token. */
export function fixedTable(
  vocabSize: number,
  answer: readonly number[] | ((prompt: readonly number[]) => number[]),
): Table {
  return (prompt, prefix) => {
    const ids = typeof answer === 'function' ? answer(prompt) : answer;
    const logits = new Float32Array(vocabSize);
    logits[ids[prefix.length - 1] ?? EOS] = 10;
    return logits;
  };
}

export function logSoftmax(logits: Float32Array): Float64Array {
  const max = Math.max(...logits);
  let sum = 0;
  for (const x of logits) sum += Math.exp(x - max);
  return Float64Array.from(logits, (x) => x - max - Math.log(sum));
}

export function tableConfig(vocabSize: number): T5Config {
  return {
    modelType: 't5',
    vocabSize,
    dModel: 1,
    dKv: 1,
    dFf: 1,
    numHeads: 1,
    encoderLayers: 1,
    decoderLayers: 1,
    activation: 'silu',
    gated: true,
    tied: true,
    layerNormEpsilon: 1e-6,
    relativeBuckets: 32,
    relativeMaxDistance: 128,
    positionBias: 'first',
    padId: START,
    eosId: EOS,
    decoderStartId: START,
    declaredPositions: undefined,
  };
}

export class TableEngine implements Engine {
  readonly info: EngineInfo = {
    engine: 'cpu',
    device: 'a table',
    weights: 'fp32',
    stepWeightBytes: 0,
    cachedValueBytes: 4,
  };
  readonly config: T5Config;
  readonly table: Table;
  /** Memories and decoders that are not disposed. */
  open = 0;
  steps = 0;
  prompts: number[][] = [];
  /** Called before each decoder step with its number, from 0: tests set stop signals here. */
  onStep: (step: number) => void = () => {};
  onEncode: () => void = () => {};

  constructor(vocabSize: number, table: Table) {
    this.config = tableConfig(vocabSize);
    this.table = table;
  }

  async encode(ids: Int32Array, signal?: StopSignal): Promise<Memory> {
    this.onEncode();
    if (signal?.stopped) throw new CancelledError();
    this.prompts.push([...ids]);
    this.open++;
    return new TableMemory([...ids], () => this.open--);
  }

  async decoder(memory: Memory, rows: number, capacity: number): Promise<Decoder> {
    if (!(memory instanceof TableMemory)) throw new TypeError('not a memory of this engine');
    this.open++;
    return new TableDecoder(this, memory.ids, rows, capacity);
  }

  async dispose(): Promise<void> {}
}

class TableMemory implements Memory {
  readonly ids: readonly number[];
  readonly length: number;
  readonly dispose: () => void;

  constructor(ids: readonly number[], free: () => void) {
    this.ids = ids;
    this.length = ids.length;
    this.dispose = free;
  }

  hidden(): Promise<Float32Array> {
    return Promise.resolve(new Float32Array(this.length));
  }
}

class TableDecoder implements Decoder {
  readonly rows: number;
  readonly #engine: TableEngine;
  readonly #prompt: readonly number[];
  readonly #capacity: number;
  #cache: number[][];

  constructor(engine: TableEngine, prompt: readonly number[], rows: number, capacity: number) {
    this.#engine = engine;
    this.#prompt = prompt;
    this.rows = rows;
    this.#capacity = capacity;
    this.#cache = Array.from({ length: rows }, () => []);
  }

  get length(): number {
    return this.#cache[0]?.length ?? 0;
  }

  async step(tokens: Int32Array, perRow: number, pick: Pick): Promise<Picked> {
    this.#engine.onStep(this.#engine.steps++);
    if (tokens.length !== this.rows * perRow) throw new RangeError('tokens are not rows of perRow');
    if (this.length + perRow > this.#capacity) throw new RangeError('more tokens than the capacity');
    const ids: number[] = [];
    const logprobs: number[] = [];
    for (const [r, cache] of this.#cache.entries()) {
      for (let i = 0; i < perRow; i++) {
        cache.push(tokens[r * perRow + i] ?? -1);
        const logits = this.#engine.table(this.#prompt, cache);
        const chosen = choose(logits, pick, r * perRow + i);
        const all = logSoftmax(logits);
        ids.push(...chosen);
        logprobs.push(...chosen.map((id) => all[id] ?? Number.NaN));
      }
    }
    return { ids: Int32Array.from(pick.kind === 'score' ? [] : ids), logprobs: Float32Array.from(logprobs) };
  }

  async reorder(parents: Int32Array): Promise<void> {
    if (parents.length !== this.rows) throw new RangeError('one parent per row');
    this.#cache = Array.from(parents, (p) => [...(this.#cache[p] ?? [])]);
  }

  async truncate(length: number): Promise<void> {
    this.#cache = this.#cache.map((cache) => cache.slice(0, length));
  }

  dispose(): void {
    this.#engine.open--;
  }
}

function choose(logits: Float32Array, pick: Pick, position: number): number[] {
  const order = [...logits.keys()].sort((a, b) => (logits[b] ?? 0) - (logits[a] ?? 0) || a - b);
  switch (pick.kind) {
    case 'argmax':
      return order.slice(0, 1);
    case 'top':
      return order.slice(0, pick.count);
    case 'score':
      return [pick.targets[position] ?? -1];
    case 'logits':
      return [];
    case 'sample':
      return [sample(logits, order, pick, pick.uniforms[position] ?? 0)];
  }
}

/** By the definition of the filters, over the sorted vocabulary. */
function sample(logits: Float32Array, order: readonly number[], pick: Pick & { kind: 'sample' }, u: number): number {
  let kept = pick.topK > 0 ? order.slice(0, pick.topK) : [...order];
  const weight = (id: number) => Math.exp((logits[id] ?? 0) / pick.temperature);
  const sum = (ids: readonly number[]) => ids.reduce((total, id) => total + weight(id), 0);
  const total = sum(kept);
  let count = 0;
  for (let reached = 0; count < kept.length && (count === 0 || reached < pick.topP * total); count++) {
    reached += weight(kept[count] ?? -1);
  }
  kept = kept.slice(0, count).sort((a, b) => a - b);
  const target = u * sum(kept);
  let seen = 0;
  for (const id of kept) {
    seen += weight(id);
    if (seen > target) return id;
  }
  return kept.at(-1) ?? -1;
}
