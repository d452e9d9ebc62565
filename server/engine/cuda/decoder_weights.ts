/**
 * The decoder's weights on the card: all layers in one allocation, in chunks (kernels/common.cuh), in the order in which
 * a step reads them; the embedding, which is the output layer too where they are tied; norms, and the bias by distance.
 */
import type { T5Config } from '../../weights/config';
import { paddedK } from '../../weights/layout';
import { relativeBucket } from '../onnx/positions';
import { type DecoderShapes, type Matrix, matrixBytes, type Product } from './decoder_shapes';
import { i32, type Kernel, type KernelArgument, pointer } from './driver';
import type { WeightMemory } from './encoder_weights';
import { CudaShapeError } from './errors';
import type { DevicePtr, EmbeddingTable, StagedTensor, WeightOwner } from './seams';

/** A weight byte of 128 is zero, whatever its scale; what no tensor fills must be. */
const ZERO_WEIGHT = 0x80;
const BLOCKS = 2048;
const THREADS = 256;

type Place =
  | {
      readonly kind: 'matrix';
      readonly to: DevicePtr;
      readonly chunks: number;
      readonly firstRow: number;
      /** Gate (0) or up (1) rows of a gated product; -1: plain rows. */
      readonly half8: -1 | 0 | 1;
      /** Whether rows count in heads, and are padded head by head. */
      readonly heads: boolean;
    }
  | { readonly kind: 'norm'; readonly to: DevicePtr }
  | { readonly kind: 'bias'; readonly to: DevicePtr };

export class DecoderWeights implements WeightOwner {
  readonly weightBytes: number;
  readonly layers: DevicePtr;
  readonly embedding: EmbeddingTable;
  readonly head: DevicePtr;
  readonly norms: DevicePtr;
  readonly bias: DevicePtr;
  readonly #driver: WeightMemory;
  readonly #shapes: DecoderShapes;
  readonly #places = new Map<string, Place>();
  readonly #owned: DevicePtr[] = [];
  readonly #buckets: DevicePtr;
  readonly #relay: { readonly matrix: Kernel; readonly norm: Kernel; readonly bias: Kernel };

  /** Allocates everything; `place` fills it. Throws `OutOfMemoryError`, and `CudaShapeError` for widths that do not fit. */
  constructor(driver: WeightMemory, shapes: DecoderShapes, kernel: (name: string) => Kernel) {
    const { config, matrices } = shapes;
    checkShape(config);
    this.#driver = driver;
    this.#shapes = shapes;
    this.#relay = {
      matrix: kernel('decoder_relay'),
      norm: kernel('decoder_relay_norm'),
      bias: kernel('decoder_relay_bias'),
    };
    let bytes = 0;
    const alloc = (size: number, fill: number): DevicePtr => {
      const address = driver.alloc(size, "the decoder's weights");
      this.#owned.push(address);
      driver.fill(address, fill, size);
      bytes += size;
      return address;
    };
    try {
      const layerBiases = config.positionBias === 'every' ? config.decoderLayers : 1;
      this.layers = alloc(shapes.layerBytes * config.decoderLayers, ZERO_WEIGHT);
      const table = alloc(matrixBytes(shapes.head), ZERO_WEIGHT);
      this.embedding = { address: table, chunks: shapes.head.chunks };
      this.head = config.tied ? table : alloc(matrixBytes(shapes.head), ZERO_WEIGHT);
      const normBytes = shapes.dPad * 2;
      this.norms = alloc((config.decoderLayers * 3 + 1) * normBytes, 0);
      this.bias = alloc(layerBiases * shapes.biasEntries * 4, 0);
      const distances = config.relativeMaxDistance + 1;
      this.#buckets = alloc(distances * 4, 0);
      driver.upload(
        this.#buckets,
        Int32Array.from({ length: distances }, (_, distance) =>
          relativeBucket(-distance, false, config.relativeBuckets, config.relativeMaxDistance),
        ),
      );
      this.weightBytes = bytes;

      const whole = (name: string, to: DevicePtr) =>
        this.#places.set(name, {
          kind: 'matrix',
          to,
          chunks: shapes.head.chunks,
          firstRow: 0,
          half8: -1,
          heads: false,
        });
      whole('shared.weight', table);
      if (!config.tied) whole('lm_head.weight', this.head);
      this.#places.set('decoder.final_layer_norm.weight', {
        kind: 'norm',
        to: this.norms + BigInt(config.decoderLayers * 3 * normBytes),
      });
      for (let layer = 0; layer < config.decoderLayers; layer++) this.#placeLayer(layer, matrices);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  owns(name: string): boolean {
    return this.#places.has(name);
  }

  place(tensor: StagedTensor): void {
    const place = this.#places.get(tensor.name);
    if (!place) throw new CudaShapeError(`the tensor ${tensor.name} is not one of its architecture`);
    const { dKv, numHeads, dModel, relativeMaxDistance } = this.#shapes.config;
    const launch = (kernel: Kernel, ...args: readonly KernelArgument[]) =>
      this.#driver.launch(kernel, { grid: [BLOCKS], block: THREADS }, args);
    if (place.kind === 'norm') {
      launch(this.#relay.norm, pointer(tensor.data), pointer(place.to), i32(dModel), i32(this.#shapes.dPad));
    } else if (place.kind === 'bias') {
      const entries = relativeMaxDistance + 1;
      launch(
        this.#relay.bias,
        pointer(tensor.data),
        pointer(this.#buckets),
        pointer(place.to),
        i32(numHeads),
        i32(entries),
      );
    } else {
      const [n = 0, k = 0] = tensor.shape;
      const width = this.#shapes.headWidth;
      const rowHead = place.heads ? [dKv, width] : [n, n];
      launch(
        this.#relay.matrix,
        pointer(tensor.data),
        pointer(tensor.scales),
        pointer(place.to),
        ...[n, k, paddedK(k), place.chunks, place.firstRow, place.half8, ...rowHead].map(i32),
      );
    }
  }

  dispose(): void {
    for (const address of this.#owned.splice(0)) this.#driver.free(address);
  }

  #placeLayer(layer: number, matrices: Readonly<Record<Product, Matrix>>): void {
    const { config, headWidth, layerBytes, dPad, biasEntries } = this.#shapes;
    const inner = config.numHeads * headWidth;
    const base = this.layers + BigInt(layer * layerBytes);
    const block = `decoder.block.${layer}.layer`;
    const matrix = (name: string, product: Product, heads: boolean, firstRow = 0, half8: -1 | 0 | 1 = -1) => {
      const { offset, chunks } = matrices[product];
      const to = base + BigInt(offset);
      this.#places.set(`${block}.${name}.weight`, { kind: 'matrix', to, chunks, firstRow, half8, heads });
    };
    matrix('0.SelfAttention.q', 'qkv', true);
    matrix('0.SelfAttention.k', 'qkv', true, inner);
    matrix('0.SelfAttention.v', 'qkv', true, 2 * inner);
    matrix('0.SelfAttention.o', 'o', false);
    matrix('1.EncDecAttention.q', 'xq', true);
    matrix('1.EncDecAttention.o', 'xo', false);
    if (config.gated) {
      matrix('2.DenseReluDense.wi_0', 'wi', false, 0, 0);
      matrix('2.DenseReluDense.wi_1', 'wi', false, 0, 1);
    } else {
      matrix('2.DenseReluDense.wi', 'wi', false);
    }
    matrix('2.DenseReluDense.wo', 'wo', false);
    for (const part of [0, 1, 2]) {
      const to = this.norms + BigInt((layer * 3 + part) * dPad * 2);
      this.#places.set(`${block}.${part}.layer_norm.weight`, { kind: 'norm', to });
    }
    if (layer === 0 || config.positionBias === 'every') {
      const to = this.bias + BigInt(layer * biasEntries * 4);
      this.#places.set(`${block}.0.SelfAttention.relative_attention_bias.weight`, { kind: 'bias', to });
    }
  }
}

/** Device bytes of the decoder's weights, without allocating them. */
export function decoderWeightBytes(shapes: DecoderShapes): number {
  const { config, layerBytes, head, dPad, biasEntries } = shapes;
  const biases = config.positionBias === 'every' ? config.decoderLayers : 1;
  return (
    layerBytes * config.decoderLayers +
    matrixBytes(head) * (config.tied ? 1 : 2) +
    (config.decoderLayers * 3 + 1) * dPad * 2 +
    (biases * biasEntries + config.relativeMaxDistance + 1) * 4
  );
}

function checkShape({ dKv, dFf, dModel }: T5Config): void {
  if (dKv % 8 !== 0 || dKv > 256) {
    throw new CudaShapeError(`heads of ${dKv} values (a multiple of 8 up to 256 is needed)`);
  }
  if (dFf % 8 !== 0) throw new CudaShapeError(`a feed-forward width of ${dFf} (a multiple of 8 is needed)`);
  if (dModel % 8 !== 0) throw new CudaShapeError(`a width of ${dModel} (a multiple of 8 is needed)`);
}
