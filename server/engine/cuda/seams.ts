/**
 * Where the two halves of the CUDA engine meet: the encoder (encoder.ts) and the decoder (decoder.ts) each own their
 * weights and kernels; the loader stages tensors for both, and engine.ts puts them together.
 */
import type { StopSignal } from '../engine';

/** An address in device memory. */
export type DevicePtr = bigint;

/**
 * One whole tensor of the weight file, staged in device memory as it lies in the file. Valid for work queued on the
 * driver's stream inside the call that receives it; the loader reuses the memory after that work.
 */
export interface StagedTensor {
  readonly name: string;
  readonly shape: readonly number[];
  /** Matrices: U8 [N, paddedK], value = q + 128, rows without holes. Vectors: F32 [shape]. 256-byte aligned. */
  readonly data: DevicePtr;
  /** Matrices: F16 [N, paddedK / 128]. Vectors: 0n. 256-byte aligned. */
  readonly scales: DevicePtr;
}

/** Takes its tensors from the loader. */
export interface WeightOwner {
  /** Device bytes of its weights, allocated by its constructor. */
  readonly weightBytes: number;
  /** Whether `place` wants this tensor. Every tensor of the file has exactly one owner. */
  owns(name: string): boolean;
  /** Queues the re-laying of one tensor. */
  place(tensor: StagedTensor): void;
  dispose(): void;
}

/**
 * The encoder's half. It owns every `encoder.*` tensor and `decoder.block.*.layer.1.EncDecAttention.{k,v}.weight`.
 * The embedding (`shared.weight`) is the decoder's; `embedding` gives its address and its chunks a tile (common.cuh).
 */
export interface EncoderHalf extends WeightOwner {
  /** Bytes that `encode` takes beside the weights for `tokens` source tokens (work space, without the memory itself). */
  workBytes(tokens: number): number;
  /**
   * Runs the encoder and queues, for every decoder layer in turn, the projection of its output to cross-attention keys
   * and values: fp16 [tokens, numHeads * dKv] each, row-major without holes, at addresses that stay valid for the work
   * that `cross` queues on the same stream. Leaves the output after the final norm at `hidden`, F32 [tokens, dModel].
   * Between layers it looks at `signal` (and lets the stream drain first, so that a stop takes effect at once) and
   * throws `CancelledError`. Returns when everything is queued or done; errors of the driver are thrown.
   */
  encode(
    ids: Int32Array,
    hidden: DevicePtr,
    cross: (layer: number, keys: DevicePtr, values: DevicePtr) => void,
    signal?: StopSignal,
  ): void;
}

/** How the encoder finds the embedding. */
export interface EmbeddingTable {
  readonly address: DevicePtr;
  /** Chunks of 256 k in a tile of 16 rows. */
  readonly chunks: number;
}
