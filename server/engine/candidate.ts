/** One engine that a machine may be able to run: how to find out, and how to make it. */
import type { Saying } from '../saying';
import type { T5Config } from '../weights/config';
import type { WeightFile } from '../weights/file';
import type { Engine, EngineName, WeightFormat } from './engine';

/** What to load. */
export interface EngineRequest {
  readonly weights: WeightFormat;
  readonly file: WeightFile;
  readonly config: T5Config;
  /** Called with the share of the model that is loaded, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/** What the memory of a model is computed from. */
export interface ModelSize {
  readonly config: T5Config;
  /** Of its weight file. */
  readonly fileBytes: number;
}

export interface Probe {
  readonly ok: boolean;
  /** The device's name, or why it cannot be used: a sentence without the final stop. */
  readonly detail: string;
  /** The same for front ends that speak other languages; absent for a mere name. */
  readonly said?: Saying;
  /** Memory that a model may take, if it can be told. */
  readonly freeBytes?: number;
  /** All memory of a device that other programs may hold a part of. */
  readonly totalBytes?: number;
  /** Works, but only slower than the CPU itself: taken when named, never by `auto`. */
  readonly software?: boolean;
}

export interface Candidate {
  readonly name: EngineName;
  /** Whether several models may be loaded on it at a time: it can hold them, and tells how much is left. */
  readonly several: boolean;
  /** Looks for the device; never rejects, and never harms this process. */
  probe(): Promise<Probe>;
  /**
   * Bytes of the device's memory that the model takes in int8, with its caches and work space for one request of
   * `sourceTokens`; absent: a request that this engine should have room for.
   */
  needBytes(size: ModelSize, sourceTokens?: number): number;
  /** Loads the model. `probe` was called before and was `ok`. */
  create(request: EngineRequest): Promise<Engine>;
}
