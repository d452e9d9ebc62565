/**
 * The encoder's weights on the card, and how the tensors of a weight file find their place in them.
 *
 * Matrices are fused and re-laid into weight units (kernels/encoder.cuh): q, k and v of a block below each other, the gate
 * and up projections interleaved, cross-attention's k and v of a decoder block below each other. Norm weights stay F32;
 * the relative bias becomes a table by distance.
 */

import { FlanError } from '../../errors';
import type { T5Config } from '../../weights/config';
import { BLOCK, paddedK } from '../../weights/layout';
import { relativeBucket } from '../onnx/positions';
import { type CudaDriver, i32, type Kernel, pointer } from './driver';
import type { DevicePtr, StagedTensor, WeightOwner } from './seams';

/** Rows and k of a weight unit (one scale a row), and its bytes with the scales. */
const UNIT = BLOCK;
const UNIT_BYTES = UNIT * UNIT + UNIT * 2;
/** Rows that no tensor fills must be zero; a weight byte of 0x80 is zero, whatever its scale. */
const ZERO_WEIGHT = 0x80;

/** A fused matrix [128 rowTiles, 128 kUnits] in units. */
export interface FusedMatrix {
  readonly units: DevicePtr;
  readonly rowTiles: number;
  readonly kUnits: number;
}

export interface EncoderLayer {
  readonly qkv: FusedMatrix;
  readonly o: FusedMatrix;
  readonly wi: FusedMatrix;
  readonly wo: FusedMatrix;
  /** F32 [dModel]. */
  readonly attentionNorm: DevicePtr;
  readonly feedForwardNorm: DevicePtr;
  /** F32 [numHeads, 2 maxDistance + 1], by key - query + maxDistance. */
  readonly bias: DevicePtr;
}

/** How the rows of a tensor lie in a fused matrix: below each other, or as the gate or the up half of pairs of 8 rows. */
type Spread = 0 | 1 | 2;

type Place =
  | { readonly kind: 'rows'; readonly into: FusedMatrix; readonly row: number; readonly spread: Spread }
  | { readonly kind: 'vector'; readonly into: DevicePtr }
  | { readonly kind: 'bias'; readonly into: DevicePtr };

/** The weight file has a tensor that the encoder cannot use as it is. */
export class EncoderShapeError extends FlanError {
  constructor(what: string) {
    super('encoder-shape', `The CUDA engine cannot run this model: ${what}. Choose another engine.`);
  }
}

/** What it needs of the driver. */
export type WeightMemory = Pick<CudaDriver, 'alloc' | 'free' | 'fill' | 'upload' | 'copy' | 'launch'>;

export class EncoderWeights implements WeightOwner {
  readonly weightBytes: number;
  readonly layers: readonly EncoderLayer[];
  /** Cross-attention's k and v of every decoder block, rows [2, numHeads * dKv]. */
  readonly cross: readonly FusedMatrix[];
  readonly finalNorm: DevicePtr;
  /** Entries of a head's bias table. */
  readonly biasEntries: number;
  readonly #driver: WeightMemory;
  readonly #config: T5Config;
  readonly #places = new Map<string, Place>();
  readonly #owned: DevicePtr[] = [];
  readonly #buckets: DevicePtr;
  readonly #relay: Kernel;
  readonly #biasTable: Kernel;

  /** Allocates everything. Throws `OutOfMemoryError`, and `EncoderShapeError` for widths that the kernels do not take. */
  constructor(driver: WeightMemory, config: T5Config, kernel: (name: string) => Kernel) {
    checkShape(config);
    this.#driver = driver;
    this.#config = config;
    this.#relay = kernel('encoder_relay');
    this.#biasTable = kernel('encoder_bias');
    const { dModel, dFf, numHeads, dKv, gated, relativeMaxDistance, relativeBuckets } = config;
    const inner = numHeads * dKv;
    let bytes = 0;
    const alloc = (size: number): DevicePtr => {
      const address = driver.alloc(size, "the encoder's weights");
      this.#owned.push(address);
      bytes += size;
      return address;
    };
    const fused = (rows: number, k: number): FusedMatrix => {
      const rowTiles = Math.ceil(rows / UNIT);
      const kUnits = paddedK(k) / UNIT;
      const size = rowTiles * kUnits * UNIT_BYTES;
      const units = alloc(size);
      driver.fill(units, ZERO_WEIGHT, size);
      return { units, rowTiles, kUnits };
    };
    const rows = (name: string, into: FusedMatrix, row = 0, spread: Spread = 0) =>
      this.#places.set(`${name}.weight`, { kind: 'rows', into, row, spread });
    const vector = (name: string): DevicePtr => {
      const into = alloc(dModel * 4);
      this.#places.set(`${name}.weight`, { kind: 'vector', into });
      return into;
    };
    try {
      this.biasEntries = 2 * relativeMaxDistance + 1;
      this.#buckets = alloc(this.biasEntries * 4);
      const buckets = Int32Array.from({ length: this.biasEntries }, (_, i) =>
        relativeBucket(i - relativeMaxDistance, true, relativeBuckets, relativeMaxDistance),
      );
      driver.upload(this.#buckets, buckets);
      const layers: EncoderLayer[] = [];
      for (let b = 0; b < config.encoderLayers; b++) {
        const attention = `encoder.block.${b}.layer.0`;
        const feedForward = `encoder.block.${b}.layer.1`;
        const qkv = fused(3 * inner, dModel);
        for (const [i, m] of ['q', 'k', 'v'].entries()) rows(`${attention}.SelfAttention.${m}`, qkv, i * inner);
        const o = fused(dModel, inner);
        rows(`${attention}.SelfAttention.o`, o);
        const wi = fused((gated ? 2 : 1) * dFf, dModel);
        if (gated) {
          rows(`${feedForward}.DenseReluDense.wi_0`, wi, 0, 1);
          rows(`${feedForward}.DenseReluDense.wi_1`, wi, 0, 2);
        } else {
          rows(`${feedForward}.DenseReluDense.wi`, wi);
        }
        const wo = fused(dModel, dFf);
        rows(`${feedForward}.DenseReluDense.wo`, wo);
        let bias = layers[0]?.bias;
        if (bias === undefined || config.positionBias === 'every') {
          bias = alloc(numHeads * this.biasEntries * 4);
          this.#places.set(`${attention}.SelfAttention.relative_attention_bias.weight`, { kind: 'bias', into: bias });
        }
        const attentionNorm = vector(`${attention}.layer_norm`);
        const feedForwardNorm = vector(`${feedForward}.layer_norm`);
        layers.push({ qkv, o, wi, wo, attentionNorm, feedForwardNorm, bias });
      }
      this.layers = layers;
      this.finalNorm = vector('encoder.final_layer_norm');
      this.cross = Array.from({ length: config.decoderLayers }, (_, b) => {
        const into = fused(2 * inner, dModel);
        rows(`decoder.block.${b}.layer.1.EncDecAttention.k`, into);
        rows(`decoder.block.${b}.layer.1.EncDecAttention.v`, into, inner);
        return into;
      });
    } catch (error) {
      this.dispose();
      throw error;
    }
    this.weightBytes = bytes;
  }

  owns(name: string): boolean {
    return this.#places.has(name);
  }

  place(tensor: StagedTensor): void {
    const place = this.#places.get(tensor.name);
    if (!place) throw new EncoderShapeError(`the tensor ${tensor.name} is not one of its architecture`);
    const [n = 0, k = 0] = tensor.shape;
    if (place.kind === 'vector') {
      this.#driver.copy(place.into, tensor.data, n * 4);
    } else if (place.kind === 'bias') {
      const { numHeads } = this.#config;
      this.#driver.launch(this.#biasTable, { grid: [Math.ceil((numHeads * this.biasEntries) / 256)], block: 256 }, [
        pointer(tensor.data),
        pointer(this.#buckets),
        pointer(place.into),
        i32(numHeads),
        i32(this.biasEntries),
      ]);
    } else {
      const padded = paddedK(k);
      this.#driver.launch(this.#relay, { grid: [Math.ceil((n * padded) / 16 / 256)], block: 256 }, [
        pointer(tensor.data),
        pointer(tensor.scales),
        pointer(place.into.units),
        i32(n),
        i32(padded),
        i32(place.row),
        i32(place.spread),
      ]);
    }
  }

  dispose(): void {
    for (const address of this.#owned.splice(0)) this.#driver.free(address);
  }
}

/** Device bytes of the encoder's weights, without allocating them. */
export function encoderWeightBytes(config: T5Config): number {
  const { dModel, dFf, numHeads, dKv } = config;
  const inner = numHeads * dKv;
  const matrix = (rows: number, k: number) => Math.ceil(rows / UNIT) * (paddedK(k) / UNIT) * UNIT_BYTES;
  const entries = 2 * config.relativeMaxDistance + 1;
  const layer =
    matrix(3 * inner, dModel) +
    matrix(dModel, inner) +
    matrix((config.gated ? 2 : 1) * dFf, dModel) +
    matrix(dModel, dFf) +
    2 * dModel * 4;
  const biases = config.positionBias === 'every' ? config.encoderLayers : Math.min(config.encoderLayers, 1);
  return (
    config.encoderLayers * layer +
    config.decoderLayers * matrix(2 * inner, dModel) +
    biases * numHeads * entries * 4 +
    dModel * 4 +
    entries * 4
  );
}

function checkShape(config: T5Config): void {
  const { dKv, dFf, dModel } = config;
  if (dKv % 8 !== 0 || dKv > 256)
    throw new EncoderShapeError(`heads of ${dKv} values (a multiple of 8 up to 256 is needed)`);
  if (dFf % 8 !== 0) throw new EncoderShapeError(`a feed-forward width of ${dFf} (a multiple of 8 is needed)`);
  if (dModel % 8 !== 0) throw new EncoderShapeError(`a width of ${dModel} (a multiple of 8 is needed)`);
}
