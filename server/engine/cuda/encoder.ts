/**
 * The encoder on an NVIDIA card: which kernels run, in which order, with which launch parameters. All layouts are
 * described in kernels/encoder.cuh, all kernels in kernels/encoder*.cu.
 *
 * One pass over all tokens of a prompt: embedding; per block norm, q/k/v, attention, o (added to the residual), norm,
 * wi with its activation, wo (added); final norm; then the cross-attention keys and values of every decoder block.
 */
import type { T5Config } from '../../weights/config';
import { paddedK } from '../../weights/layout';
import type { StopSignal } from '../engine';
import { activationCode } from './decoder_shapes';
import { type CudaDriver, f32, i32, type Kernel, type KernelArgument, pointer, u64 } from './driver';
import { Pace } from './encoder_pace';
import { EncoderProducts, type Product } from './encoder_products';
import { padTokens } from './encoder_tiles';
import { EncoderWeights, type FusedMatrix } from './encoder_weights';
import { EncoderWork, headWidth, workBytes } from './encoder_work';
import type { DevicePtr, EmbeddingTable, EncoderHalf, StagedTensor } from './seams';

/** The input of `wo` is stored times 2^-6 (kernels/encoder.cuh); its product is scaled back. */
const WO_SCALE = 64;
const EMBED_THREADS = 512;
/** Up to here a cluster of eight blocks for eight tokens beats one block (11 against 15 us at 128 tokens on an H100; 23 against 14 at 512). */
const SHORT_NORM_TOKENS = 128;

interface NormKernels {
  readonly norm: Kernel;
  readonly final: Kernel;
  /** Blocks that share 8 tokens, and their threads. */
  readonly blocks: number;
  readonly threads: number;
}

/** What the norm after a product must still add to the residual stream: `split` parts, in order. */
interface Pending {
  readonly split: number;
  readonly scale: number;
}

const NOTHING_PENDING: Pending = { split: 1, scale: 1 };

export class CudaEncoder implements EncoderHalf {
  readonly weightBytes: number;
  readonly #driver: CudaDriver;
  readonly #config: T5Config;
  readonly #embedding: EmbeddingTable;
  readonly #weights: EncoderWeights;
  readonly #products: EncoderProducts;
  readonly #work: EncoderWork;
  readonly #hopper: boolean;
  readonly #embed: Kernel;
  readonly #norm: NormKernels;
  /** Hopper's form for short prompts. */
  readonly #shortNorm: NormKernels | undefined;
  readonly #attention: Kernel;
  readonly #headWidth: number;

  /**
   * `kernel` looks a kernel up in the loaded image of kernels/encoder.cu. Allocates the weights; they are filled by
   * `place`. Throws `OutOfMemoryError` and `EncoderShapeError`.
   */
  constructor(driver: CudaDriver, config: T5Config, kernel: (name: string) => Kernel, embedding: EmbeddingTable) {
    this.#driver = driver;
    this.#config = config;
    this.#embedding = embedding;
    this.#headWidth = headWidth(config);
    // The sm_90a part of the image is for 9.0 alone; its products use instructions that no other card has.
    this.#hopper = driver.device.capability === 90;
    this.#products = new EncoderProducts(driver, kernel, this.#hopper);
    this.#work = new EncoderWork(driver, config);
    this.#embed = kernel('encoder_embed');
    this.#norm = { norm: kernel('encoder_norm'), final: kernel('encoder_final_norm'), blocks: 1, threads: 1024 };
    if (this.#hopper) {
      this.#shortNorm = {
        norm: kernel('encoder_norm_h'),
        final: kernel('encoder_final_norm_h'),
        blocks: 8,
        threads: 256,
      };
    }
    this.#attention = kernel(`encoder_attention_${this.#hopper ? 'h' : ''}${this.#headWidth}`);
    driver.allowShared(this.#attention, this.#attentionShared);
    this.#weights = new EncoderWeights(driver, config, kernel);
    this.weightBytes = this.#weights.weightBytes;
  }

  owns(name: string): boolean {
    return this.#weights.owns(name);
  }

  place(tensor: StagedTensor): void {
    this.#weights.place(tensor);
  }

  workBytes(tokens: number): number {
    return workBytes(this.#config, tokens);
  }

  encode(
    ids: Int32Array,
    hidden: DevicePtr,
    cross: (layer: number, keys: DevicePtr, values: DevicePtr) => void,
    signal?: StopSignal,
  ): void {
    const tokens = ids.length;
    if (tokens === 0) throw new RangeError('The encoder needs at least one token.');
    const { dModel, numHeads, dKv, layerNormEpsilon, relativeMaxDistance, gated, activation } = this.#config;
    const innerWidth = numHeads * dKv;
    const work = this.#work.space(tokens);
    const driver = this.#driver;
    const groups = paddedK(dModel) / 16;
    const blocks = work.tokens / 64;
    const tokenBlocks = Math.ceil(tokens / 64);
    const attention = {
      grid: [this.#hopper ? Math.ceil(tokens / 128) : tokenBlocks, numHeads],
      block: this.#hopper ? 384 : 128,
      shared: this.#attentionShared,
    } as const;
    const norms = (tokens <= SHORT_NORM_TOKENS ? this.#shortNorm : undefined) ?? this.#norm;
    const normShape = { grid: [tokenBlocks * 8 * norms.blocks], block: norms.threads } as const;
    const pace = new Pace(driver, signal);
    const stride = (padTokens(tokens) * paddedK(dModel)) / 4;
    let pending = NOTHING_PENDING;
    const norm = (kernel: Kernel, gamma: DevicePtr, ...rest: KernelArgument[]) => {
      driver.launch(kernel, normShape, [
        pointer(work.x),
        pointer(work.parts),
        u64(stride),
        i32(pending.split),
        f32(pending.scale),
        pointer(gamma),
        pointer(work.operand),
        i32(dModel),
        f32(layerNormEpsilon),
        ...rest,
      ]);
      pending = NOTHING_PENDING;
    };
    const product = (name: Product, matrix: FusedMatrix, operand: DevicePtr, rest: readonly KernelArgument[]) =>
      this.#products.launch(name, matrix, this.#products.tiling(matrix, tokens, false), operand, tokens, rest);
    const add = (matrix: FusedMatrix, operand: DevicePtr, scale: number) => {
      const tiles = this.#products.tiling(matrix, tokens, true);
      pending = { split: tiles.split, scale };
      this.#products.launch('add', matrix, tiles, operand, tokens, [
        pointer(work.x),
        pointer(work.parts),
        u64(stride),
        i32(groups),
        f32(scale),
        i32(tiles.split),
      ]);
    };
    try {
      driver.upload(work.ids, ids);
      driver.launch(this.#embed, { grid: [padTokens(tokens) / 8], block: EMBED_THREADS }, [
        pointer(work.x),
        pointer(this.#embedding.address),
        pointer(work.ids),
        i32(tokens),
        i32(groups),
        i32(this.#embedding.chunks),
      ]);
      for (const layer of this.#weights.layers) {
        pace.next();
        norm(norms.norm, layer.attentionNorm);
        product('qkv', layer.qkv, work.operand, [
          pointer(work.qkv),
          i32(innerWidth),
          i32(dKv),
          i32(this.#headWidth / 64),
          i32(blocks),
        ]);
        driver.launch(this.#attention, attention, [
          pointer(work.qkv),
          pointer(layer.bias),
          pointer(work.attended),
          i32(tokens),
          i32(blocks),
          i32(dKv),
          i32(relativeMaxDistance),
          i32(paddedK(innerWidth) / 64),
        ]);
        add(layer.o, work.attended, 1);
        norm(norms.norm, layer.feedForwardNorm);
        product(gated ? 'gated' : 'act', layer.wi, work.operand, [
          pointer(work.inner),
          i32(paddedK(this.#config.dFf) / 64),
          i32(activationCode(activation)),
        ]);
        add(layer.wo, work.inner, WO_SCALE);
      }
      norm(norms.final, this.#weights.finalNorm, pointer(hidden), i32(tokens));
      for (const [layer, matrix] of this.#weights.cross.entries()) {
        pace.next();
        const outputs = [pointer(work.keys), pointer(work.values), i32(innerWidth), i32(tokens)];
        product('cross', matrix, work.operand, outputs);
        cross(layer, work.keys, work.values);
      }
    } finally {
      pace.end();
    }
  }

  dispose(): void {
    this.#work.dispose();
    this.#weights.dispose();
  }

  /** Queries, keys and values of 64 tokens; on Hopper 128 queries, a ring of keys and values, and its barriers. */
  get #attentionShared(): number {
    const block = 64 * this.#headWidth * 2;
    if (!this.#hopper) return 3 * block;
    const stages = this.#headWidth === 256 ? 2 : 4;
    return (2 + 2 * stages) * block + (1 + 4 * stages) * 8;
  }
}
