/** The encoder's work space on the card: one allocation, kept from one prompt to the next. */
import type { T5Config } from '../../weights/config';
import { paddedK } from '../../weights/layout';
import type { CudaDriver } from './driver';
import { PART_TOKENS, padTokens } from './encoder_tiles';
import type { DevicePtr } from './seams';

/** Addresses of one allocation. */
export interface WorkSpace {
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

/** Width of a head as the kernels hold it; the rest is zero. */
export function headWidth({ dKv }: T5Config): 64 | 128 | 256 {
  return dKv <= 64 ? 64 : dKv <= 128 ? 128 : 256;
}

/** Bytes of the work space for `tokens` tokens. */
export function workBytes(config: T5Config, tokens: number): number {
  return layout(config, tokens).bytes;
}

function layout(config: T5Config, tokens: number): { bytes: number; at: (base: DevicePtr) => WorkSpace } {
  const { dModel, dFf, numHeads, dKv } = config;
  const padded = padTokens(tokens);
  const inner = numHeads * dKv;
  const sizes = {
    x: padded * paddedK(dModel) * 4,
    parts: PART_TOKENS * paddedK(dModel) * 4,
    operand: padded * paddedK(dModel) * 2,
    qkv: 3 * numHeads * padded * headWidth(config) * 2,
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

export class EncoderWork {
  readonly #driver: CudaDriver;
  readonly #config: T5Config;
  #space: WorkSpace | undefined;

  constructor(driver: CudaDriver, config: T5Config) {
    this.#driver = driver;
    this.#config = config;
  }

  /**
   * Room for `tokens` tokens; replaced when a longer prompt comes. Padding is read, so it must be finite: it starts as
   * zeros, and only finite numbers are ever written. Throws `OutOfMemoryError`.
   */
  space(tokens: number): WorkSpace {
    if (this.#space && this.#space.tokens >= tokens) return this.#space;
    this.dispose();
    const { bytes, at } = layout(this.#config, tokens);
    const address = this.#driver.alloc(bytes, `a prompt of ${tokens} tokens`);
    this.#driver.fill(address, 0, bytes);
    this.#space = at(address);
    return this.#space;
  }

  dispose(): void {
    if (this.#space) this.#driver.free(this.#space.address);
    this.#space = undefined;
  }
}
