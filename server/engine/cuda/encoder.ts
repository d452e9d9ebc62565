/**
 * The encoder on an NVIDIA card: which kernels run, in which order, with which launch parameters. All layouts are
 * described in kernels/encoder.cuh, all kernels in kernels/encoder*.cu.
 *
 * One pass over all tokens of a prompt: embedding; per block norm, q/k/v, attention, o (added to the residual), norm,
 * wi with its activation, wo (added); final norm; then the cross-attention keys and values of every decoder block.
 */
import { CancelledError } from '../../errors';
import type { T5Config } from '../../weights/config';
import { paddedK } from '../../weights/layout';
import type { StopSignal } from '../engine';
import { type CudaDriver, f32, i32, type Kernel, type KernelArgument, pointer, u64 } from './driver';
import { PART_TOKENS, padTokens, type Tiling, tileSizes, tiling } from './encoder_tiles';
import { EncoderWeights, type FusedMatrix } from './encoder_weights';
import type { DevicePtr, EmbeddingTable, EncoderHalf, StagedTensor } from './seams';

const UNIT_BYTES = 16_640;
/** The input of `wo` is stored times 2^-6 (kernels/encoder.cuh); its product is scaled back. */
const WO_SCALE = 64;
const ACTIVATION = { relu: 0, gelu_new: 1, silu: 2 } as const;
const EMBED_THREADS = 512;
/** Up to here a cluster of eight blocks for eight tokens beats one block (11 against 15 us at 128 tokens on an H100; 23 against 14 at 512). */
const SHORT_NORM_TOKENS = 128;

type Product = 'qkv' | 'add' | 'gated' | 'act' | 'cross';

/** A product's kernel for one tile size. */
interface ProductKernel {
  readonly kernel: Kernel;
  readonly shared: number;
}

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

/** Addresses of one allocation. */
interface WorkSpace {
  readonly address: DevicePtr;
  readonly tokens: number;
  /** F32 residual stream. */
  readonly x: DevicePtr;
  /** F32 parts of a product cut along K, in the order of x. */
  readonly parts: DevicePtr;
  /** F16 input of q/k/v, wi and the cross projections [.., dModel]. */
  readonly operand: DevicePtr;
  readonly qkv: DevicePtr;
  /** F16 input of o. */
  readonly attended: DevicePtr;
  /** F16 input of wo. */
  readonly inner: DevicePtr;
  readonly keys: DevicePtr;
  readonly values: DevicePtr;
  readonly ids: DevicePtr;
}

export class CudaEncoder implements EncoderHalf {
  readonly weightBytes: number;
  readonly #driver: CudaDriver;
  readonly #config: T5Config;
  readonly #embedding: EmbeddingTable;
  readonly #weights: EncoderWeights;
  readonly #products: Readonly<Record<Product, ReadonlyMap<number, ProductKernel>>>;
  readonly #hopper: boolean;
  readonly #stages: number;
  readonly #embed: Kernel;
  readonly #norm: NormKernels;
  /** Hopper's form for short prompts. */
  readonly #shortNorm: NormKernels | undefined;
  readonly #attention: Kernel;
  /** Head width as the kernels hold it: 64, 128 or 256, the rest zero. */
  readonly #headWidth: number;
  #work: WorkSpace | undefined;

  /**
   * `kernel` looks a kernel up in the loaded image of kernels/encoder.cu. Allocates the weights; they are filled by
   * `place`. Throws `OutOfMemoryError` and `EncoderShapeError`.
   */
  constructor(driver: CudaDriver, config: T5Config, kernel: (name: string) => Kernel, embedding: EmbeddingTable) {
    this.#driver = driver;
    this.#config = config;
    this.#embedding = embedding;
    this.#headWidth = config.dKv <= 64 ? 64 : config.dKv <= 128 ? 128 : 256;
    // The sm_90a part of the image is for 9.0 alone; its products use instructions that no other card has.
    this.#hopper = driver.device.capability === 90;
    this.#stages = driver.device.sharedBytes >= 3 * portableStage(128) ? 3 : 2;
    const products = (name: Product): ReadonlyMap<number, ProductKernel> =>
      new Map(
        tileSizes(this.#hopper).map((tokens) => {
          const shared = this.#hopper ? hopperShared(tokens) : this.#stages * portableStage(tokens);
          const found = kernel(`encoder_${name}_${this.#hopper ? 'h' : ''}${tokens}`);
          driver.allowShared(found, shared);
          return [tokens, { kernel: found, shared }];
        }),
      );
    this.#products = {
      qkv: products('qkv'),
      add: products('add'),
      gated: products('gated'),
      act: products('act'),
      cross: products('cross'),
    };
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
    return this.#workLayout(tokens).bytes;
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
    const work = this.#workSpace(tokens);
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
      this.#product(name, matrix, this.#tiling(matrix, tokens, false), operand, tokens, rest);
    const add = (matrix: FusedMatrix, operand: DevicePtr, scale: number) => {
      const tiles = this.#tiling(matrix, tokens, true);
      pending = { split: tiles.split, scale };
      this.#product('add', matrix, tiles, operand, tokens, [
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
          i32(ACTIVATION[activation]),
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
    if (this.#work) this.#driver.free(this.#work.address);
    this.#work = undefined;
    this.#weights.dispose();
  }

  /** Queries, keys and values of 64 tokens; on Hopper 128 queries, a ring of keys and values, and its barriers. */
  get #attentionShared(): number {
    const block = 64 * this.#headWidth * 2;
    if (!this.#hopper) return 3 * block;
    const stages = this.#headWidth === 256 ? 2 : 4;
    return (2 + 2 * stages) * block + (1 + 4 * stages) * 8;
  }

  #tiling(matrix: FusedMatrix, tokens: number, cut: boolean): Tiling {
    return tiling(matrix, tokens, this.#hopper, this.#driver.device.multiprocessors, cut);
  }

  /** Queues one product over the operand tiles at `operand`. `rest`: what its epilogue takes. */
  #product(
    name: Product,
    matrix: FusedMatrix,
    tiles: Tiling,
    operand: DevicePtr,
    tokens: number,
    rest: readonly KernelArgument[],
  ): void {
    const found = this.#products[name].get(tiles.tokens);
    if (!found) throw new RangeError(`No product for tiles of ${tiles.tokens} tokens.`);
    const { kernel, shared } = found;
    const { rowTiles, kUnits, units } = matrix;
    const tokenTiles = Math.ceil(tokens / tiles.tokens);
    const head = [pointer(units), pointer(operand), i32(kUnits)];
    if (this.#hopper) {
      const pairs = Math.ceil(rowTiles / 2) * tokenTiles * tiles.split;
      const grid = [2 * Math.min(Math.floor(this.#driver.device.multiprocessors / 2), pairs)] as const;
      this.#driver.launch(kernel, { grid, block: 384, shared }, [...head, i32(rowTiles), i32(tokenTiles), ...rest]);
    } else {
      const grid = [tokenTiles, rowTiles, tiles.split] as const;
      this.#driver.launch(kernel, { grid, block: 256, shared }, [...head, i32(this.#stages), ...rest]);
    }
  }

  #workLayout(tokens: number): { bytes: number; at: (base: DevicePtr) => WorkSpace } {
    const { dModel, dFf, numHeads, dKv } = this.#config;
    const padded = padTokens(tokens);
    const inner = numHeads * dKv;
    const sizes = {
      x: padded * paddedK(dModel) * 4,
      parts: PART_TOKENS * paddedK(dModel) * 4,
      operand: padded * paddedK(dModel) * 2,
      qkv: 3 * numHeads * padded * this.#headWidth * 2,
      attended: padded * paddedK(inner) * 2,
      inner: padded * paddedK(dFf) * 2,
      keys: padded * inner * 2,
      values: padded * inner * 2,
      ids: padded * 4,
    };
    // Every size is a multiple of 1024 (256 tokens of at least 4 bytes): each part is aligned for bulk copies.
    const names = Object.keys(sizes) as (keyof typeof sizes)[];
    const bytes = names.reduce((sum, name) => sum + sizes[name], 0);
    const at = (base: DevicePtr): WorkSpace => {
      let next = base;
      const parts = names.map((name) => {
        const address = next;
        next += BigInt(sizes[name]);
        return [name, address] as const;
      });
      return { address: base, tokens: padded, ...(Object.fromEntries(parts) as Record<keyof typeof sizes, DevicePtr>) };
    };
    return { bytes, at };
  }

  /** Kept from one prompt to the next, and replaced when a longer one comes. Its padding must be finite: it starts as zeros. */
  #workSpace(tokens: number): WorkSpace {
    if (this.#work && this.#work.tokens >= tokens) return this.#work;
    if (this.#work) this.#driver.free(this.#work.address);
    this.#work = undefined;
    const { bytes, at } = this.#workLayout(tokens);
    const address = this.#driver.alloc(bytes, `a prompt of ${tokens} tokens`);
    this.#driver.fill(address, 0, bytes);
    this.#work = at(address);
    return this.#work;
  }
}

/**
 * Keeps at most two layers queued on the card while somebody may stop the work: the card never waits for the host, and a
 * stop takes effect within two layers.
 */
class Pace {
  readonly #driver: CudaDriver;
  readonly #signal: StopSignal | undefined;
  #marks: bigint[] = [];

  constructor(driver: CudaDriver, signal: StopSignal | undefined) {
    this.#driver = driver;
    this.#signal = signal;
  }

  next(): void {
    if (!this.#signal) return;
    this.#marks.push(this.#driver.mark());
    if (this.#marks.length > 2) {
      const oldest = this.#marks.shift();
      if (oldest !== undefined) {
        this.#driver.waitFor(oldest);
        this.#driver.forget(oldest);
      }
    }
    if (this.#signal.stopped) {
      this.#driver.synchronize();
      throw new CancelledError();
    }
  }

  end(): void {
    for (const mark of this.#marks.splice(0)) this.#driver.forget(mark);
  }
}

function portableStage(tokens: number): number {
  return UNIT_BYTES + tokens * 256;
}

/** Shared memory of the Hopper products: two rings, their barriers, and a kilobyte a warp (`Rings` in kernels/encoder_hopper.cu). */
function hopperShared(tokens: number): number {
  const operandSlots = tokens === 256 ? 5 : 8;
  const unitSlots = tokens === 256 ? 3 : tokens === 128 ? 5 : 8;
  const rings = operandSlots * tokens * 128 + unitSlots * UNIT_BYTES + (operandSlots + unitSlots) * 16;
  return Math.ceil(rings / 128) * 128 + 8 * 1024;
}
