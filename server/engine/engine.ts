/**
 * What the generation loop needs from an engine, and no more. Callers never learn whether ONNX or CUDA is behind it.
 *
 * All token ids are int32; row-major, rows outermost. Log-probabilities are natural logarithms of the softmax over the
 * whole vocabulary of the unmodified logits (temperature 1, nothing filtered), whatever was used to pick a token.
 */
import type { T5Config } from '../weights/config';

export type EngineName = 'cpu' | 'webgpu' | 'cuda';
export type WeightFormat = 'int8' | 'fp32';

/** Looked at between steps, and between encoder layers where the engine can. Backed by shared memory across threads. */
export interface StopSignal {
  readonly stopped: boolean;
}

export interface EngineInfo {
  readonly engine: EngineName;
  /** As a person would name it: `NVIDIA H100 80GB HBM3`, `CPU (2 threads)`. */
  readonly device: string;
  readonly weights: WeightFormat;
  /** Bytes of weights that one decoder step reads at least once (decoder blocks and output layer, with scales). */
  readonly stepWeightBytes: number;
  /** Bytes of one cached key or value. */
  readonly cachedValueBytes: number;
  /**
   * Tokens beyond the first that a step of one row takes at about the cost of one, with the same result bit for bit:
   * so many are worth drafting. Absent: none.
   */
  readonly draftTokens?: number;
}

export interface Engine {
  readonly info: EngineInfo;
  readonly config: T5Config;
  /**
   * Runs the encoder over `ids` (end token included by the caller) once, and the cross-attention keys and values of all
   * decoder layers from its output. Throws `CancelledError` when `signal` is set meanwhile.
   */
  encode(ids: Int32Array, signal?: StopSignal): Promise<Memory>;
  /** A decoder of `rows` independent rows over one memory, with an empty self-attention cache. `capacity`: most tokens a row will hold. */
  decoder(memory: Memory, rows: number, capacity: number): Promise<Decoder>;
  /** Bytes read and written a second by a large copy in the memory of the device that the weights lie in; not for main memory. */
  copyBytesPerSecond?(): number;
  /** Bytes of that memory that the engine holds now. */
  deviceBytes?(): number;
  /** Frees everything; safe to call twice. Memories and decoders must be disposed before. */
  dispose(): Promise<void>;
}

/** One encoded prompt: reusable for any number of decoders. */
export interface Memory {
  /** Number of source tokens. */
  readonly length: number;
  /** Encoder output after the final norm, float32 [length, dModel]; for tests and parity. */
  hidden(): Promise<Float32Array>;
  dispose(): void;
}

/** How the next ids are chosen from the logits of every fed position. */
export type Pick =
  | { readonly kind: 'argmax' }
  /** `uniforms` [rows * perRow] in [0, 1): one draw a position. Temperature, then top-k, then top-p, as transformers orders them. `topK` 0 and `topP` 1 switch a filter off. */
  | {
      readonly kind: 'sample';
      readonly temperature: number;
      readonly topK: number;
      readonly topP: number;
      readonly uniforms: Float64Array;
    }
  /** Log-probability of `targets` [rows * perRow] at every position. */
  | { readonly kind: 'score'; readonly targets: Int32Array }
  /** The `count` best ids of every position, best first. Equal values: the lower id first. */
  | { readonly kind: 'top'; readonly count: number }
  /** Whole logits, float32 [rows * perRow, vocabSize]; for tests. */
  | { readonly kind: 'logits' };

export interface Picked {
  /** argmax, sample: [rows * perRow]; top: [rows * perRow * count]; otherwise empty. */
  readonly ids: Int32Array;
  /** Of `ids` (or of the targets), same shape. */
  readonly logprobs: Float32Array;
  /** Only for `logits`. */
  readonly logits?: Float32Array;
}

export interface Decoder {
  readonly rows: number;
  /** Tokens that each row's cache holds now. */
  readonly length: number;
  /** Feeds `tokens` [rows * perRow], appends them to the cache, and picks from the logits after each of them. */
  step(tokens: Int32Array, perRow: number, pick: Pick): Promise<Picked>;
  /** Row i goes on from what row `parents[i]` held (beams). */
  reorder(parents: Int32Array): Promise<void>;
  /** Drops all but the first `length` tokens of every row (speculation, retries). */
  truncate(length: number): Promise<void>;
  dispose(): void;
}
