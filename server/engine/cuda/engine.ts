/**
 * The engine on an NVIDIA card: loads a weight file, encodes prompts (encoder.ts), makes decoders (decoder.ts). One
 * thread owns it. When the card loses its context (a fault in a kernel, a watchdog), what was on it is gone: the call
 * that met it throws the driver's error, and the next `encode` opens the card again and loads the weights anew, where the
 * driver lets this process do so (CudaError).
 */
import type { T5Config } from '../../weights/config';
import type { WeightFile } from '../../weights/file';
import type { Decoder, Engine, EngineInfo, Memory, StopSignal } from '../engine';
import { DisposedError, OutOfMemoryError } from '../errors';
import { copySpeed } from './copy_speed';
import { type CrossMemory, CudaDecoder, checkIds, stepWeightBytes } from './decoder';
import { exchangeShape } from './decoder_exchange';
import {
  activationCode,
  cacheLayerBytes,
  crossShape,
  type DecoderShapes,
  decoderShapes,
  MAX_COLUMNS,
  partialFloats,
} from './decoder_shapes';
import { DecoderWeights, decoderWeightBytes } from './decoder_weights';
import { CudaDriver, i32, type Kernel, pointer } from './driver';
import { CudaEncoder } from './encoder';
import { encoderWeightBytes } from './encoder_weights';
import { CudaError, CudaShapeError } from './errors';
import { kernelImage } from './images';
import { loadWeights, stagingBytes } from './load';
import type { DevicePtr } from './seams';
import { StepRunner } from './step_runner';

export { type CudaProbe, probeCuda } from './driver';

/** A request that must fit beside the weights: what `needBytes` counts with. */
const TYPICAL = { sourceTokens: 2048, rows: 4, capacity: 512 } as const;
/** The driver's own needs: context, kernels, local memory. */
const CONTEXT_BYTES = 512e6;
const PACK_BLOCKS = 1024;
const PACK_THREADS = 256;

export interface CudaEngineOptions {
  readonly file: WeightFile;
  readonly config: T5Config;
  /** Which card; default the first. */
  readonly ordinal?: number;
  /** Called with the share of the weights that is loaded, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
  readonly signal?: StopSignal;
}

/**
 * Loads a model onto a card.
 *
 * @throws CudaUnavailableError, OutOfMemoryError (before the first byte is read), CudaShapeError, CudaError,
 * CancelledError
 */
export async function createCudaEngine(options: CudaEngineOptions): Promise<Engine> {
  if (options.file.format !== 'int8') throw new CudaShapeError('its weights are float32, and int8 is needed');
  activationCode(options.config.activation); // Before anything is loaded.
  return new CudaEngine(options, await loadCard(options));
}

/** Device bytes of a model with room for one request, by default a long one. */
export function cudaNeedBytes(config: T5Config, sourceTokens: number = TYPICAL.sourceTokens): number {
  // How tiles are grouped depends on the card; how many bytes they take does not.
  const shapes = decoderShapes(config, 1);
  const cross = crossShape(shapes, sourceTokens, 128);
  const request =
    cross.layerBytes * config.decoderLayers +
    2 * cacheLayerBytes(shapes, TYPICAL.rows, TYPICAL.capacity) * config.decoderLayers +
    partialFloats(shapes, TYPICAL.capacity) * 4 +
    exchangeShape(shapes, 128).bytes +
    sourceTokens * (config.dFf * 2 + config.dModel * 10 + config.numHeads * config.dKv * 10);
  const weights = decoderWeightBytes(shapes) + encoderWeightBytes(config);
  return weights + Math.max(request, stagingBytes(config)) + CONTEXT_BYTES;
}

/** Everything that lives on the card for a model. */
interface Card {
  readonly driver: CudaDriver;
  readonly shapes: DecoderShapes;
  readonly weights: DecoderWeights;
  readonly encoder: CudaEncoder;
  readonly runner: StepRunner;
  readonly pack: Kernel;
}

async function loadCard({ file, config, ordinal, onProgress, signal }: CudaEngineOptions): Promise<Card> {
  const driver = CudaDriver.open(ordinal);
  try {
    const need = cudaNeedBytes(config);
    const { free } = driver.memory();
    if (need > free) throw new OutOfMemoryError(`This model on ${driver.device.name}`, need, free);
    const shapes = decoderShapes(config, driver.device.multiprocessors);
    const decoderKernel = driver.load(kernelImage('decoder'));
    const encoderKernel = driver.load(kernelImage('encoder'));
    const weights = new DecoderWeights(driver, shapes, decoderKernel);
    const encoder = new CudaEncoder(driver, config, encoderKernel, weights.embedding);
    await loadWeights(driver, file, [weights, encoder], onProgress, signal);
    const runner = new StepRunner(driver, shapes, weights, decoderKernel);
    return { driver, shapes, weights, encoder, runner, pack: decoderKernel('decoder_pack_cross') };
  } catch (error) {
    // Frees whatever was allocated on it.
    driver.close();
    throw error;
  }
}

class CudaEngine implements Engine {
  readonly info: EngineInfo;
  readonly config: T5Config;
  readonly #options: CudaEngineOptions;
  #card: Card | undefined;
  #disposed = false;

  constructor(options: CudaEngineOptions, card: Card) {
    this.#options = options;
    this.#card = card;
    this.config = options.config;
    this.info = {
      engine: 'cuda',
      device: card.driver.device.name,
      weights: 'int8',
      stepWeightBytes: stepWeightBytes(card.shapes),
      cachedValueBytes: 2,
      // Eight columns are one launch.
      draftTokens: MAX_COLUMNS - 1,
    };
  }

  async encode(ids: Int32Array, signal?: StopSignal): Promise<Memory> {
    if (this.#disposed) throw new DisposedError('engine');
    if (ids.length === 0) throw new RangeError('An empty prompt has nothing to encode.');
    checkIds(ids, this.config.vocabSize);
    this.#card ??= await loadCard(this.#options);
    const card = this.#card;
    return this.#guard(card, () => new CudaMemory(card, ids, (work) => this.#guard(card, work), signal));
  }

  async decoder(memory: Memory, rows: number, capacity: number): Promise<Decoder> {
    if (this.#disposed) throw new DisposedError('engine');
    if (!(memory instanceof CudaMemory)) throw new TypeError('This memory is from another engine.');
    if (rows < 1 || capacity < 1) throw new RangeError('A decoder has at least one row and room for one token.');
    const card = this.#card;
    if (card === undefined || card !== memory.card) throw new DisposedError('memory');
    const cross = memory.cross();
    const guard = <T>(work: () => T): T => this.#guard(card, work);
    return guard(() => new CudaDecoder(card.runner, cross, rows, capacity, guard));
  }

  copyBytesPerSecond(): number {
    const card = this.#card;
    if (card === undefined) throw new DisposedError('engine');
    return this.#guard(card, () => copySpeed(card.driver));
  }

  /** The driver's own context is an estimate. */
  deviceBytes(): number {
    return (this.#card?.driver.allocatedBytes ?? 0) + CONTEXT_BYTES;
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    const card = this.#card;
    this.#card = undefined;
    if (!card) return;
    card.runner.dispose();
    card.encoder.dispose();
    card.weights.dispose();
    card.driver.close();
  }

  /** Runs work on the card; when that loses the context, closes it, so that the next request opens it again. */
  #guard<T>(card: Card, work: () => T): T {
    if (card !== this.#card) throw new DisposedError('memory');
    try {
      return work();
    } catch (error) {
      if (error instanceof CudaError && error.contextLost && this.#card === card) {
        this.#card = undefined;
        card.driver.close();
      }
      throw error;
    }
  }
}

class CudaMemory implements Memory {
  readonly length: number;
  readonly card: Card;
  readonly #guard: <T>(work: () => T) => T;
  /** F32 [length, dModel]. */
  #hidden: DevicePtr = 0n;
  #cross: CrossMemory | undefined;

  /** Encodes `ids`; returns when the card is done. */
  constructor(card: Card, ids: Int32Array, guard: <T>(work: () => T) => T, signal: StopSignal | undefined) {
    const { driver, shapes, encoder, pack } = card;
    const { config, headWidth } = shapes;
    this.card = card;
    this.length = ids.length;
    this.#guard = guard;
    const shape = crossShape(shapes, ids.length, driver.device.multiprocessors);
    const what = `a prompt of ${ids.length} tokens`;
    try {
      this.#hidden = driver.alloc(ids.length * config.dModel * 4, what);
      const address = driver.alloc(shape.layerBytes * config.decoderLayers, what);
      this.#cross = { tokens: ids.length, address, shape };
      const cross = (layer: number, keys: DevicePtr, values: DevicePtr) => {
        const to = address + BigInt(layer * shape.layerBytes);
        driver.launch(pack, { grid: [PACK_BLOCKS], block: PACK_THREADS }, [
          pointer(keys),
          pointer(values),
          pointer(to),
          ...[ids.length, config.numHeads, config.dKv, headWidth, shape.slots].map(i32),
        ]);
      };
      encoder.encode(ids, this.#hidden, cross, signal);
      driver.synchronize();
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  cross(): CrossMemory {
    if (this.#cross === undefined) throw new DisposedError('memory');
    return this.#cross;
  }

  async hidden(): Promise<Float32Array> {
    this.cross();
    const hidden = new Float32Array(this.length * this.card.shapes.config.dModel);
    this.#guard(() => this.card.driver.download(hidden, this.#hidden));
    return hidden;
  }

  dispose(): void {
    this.card.driver.free(this.#hidden);
    if (this.#cross) this.card.driver.free(this.#cross.address);
    this.#hidden = 0n;
    this.#cross = undefined;
  }
}
