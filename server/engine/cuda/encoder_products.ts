/** The encoder's matrix products: one kernel for each epilogue and tile size, and how it is launched. */
import { type CudaDriver, i32, type Kernel, type KernelArgument, pointer } from './driver';
import { type Tiling, tileSizes, tiling } from './encoder_tiles';
import type { FusedMatrix } from './encoder_weights';
import type { DevicePtr } from './seams';

const UNIT_BYTES = 16_640;

/** By what happens to the result (kernels/encoder_epilogue.cuh). */
export type Product = 'qkv' | 'add' | 'gated' | 'act' | 'cross';
const PRODUCTS: readonly Product[] = ['qkv', 'add', 'gated', 'act', 'cross'];

interface ProductKernel {
  readonly kernel: Kernel;
  readonly shared: number;
}

export class EncoderProducts {
  readonly #driver: CudaDriver;
  readonly #kernels = new Map<string, ProductKernel>();
  readonly #hopper: boolean;
  readonly #stages: number;

  constructor(driver: CudaDriver, kernel: (name: string) => Kernel, hopper: boolean) {
    this.#driver = driver;
    this.#hopper = hopper;
    this.#stages = driver.device.sharedBytes >= 3 * portableStage(128) ? 3 : 2;
    for (const name of PRODUCTS) {
      for (const tokens of tileSizes(hopper)) {
        const shared = hopper ? hopperShared(tokens) : this.#stages * portableStage(tokens);
        const found = kernel(`encoder_${name}_${hopper ? 'h' : ''}${tokens}`);
        driver.allowShared(found, shared);
        this.#kernels.set(`${name} ${tokens}`, { kernel: found, shared });
      }
    }
  }

  /** `cut`: whether K may be cut into parts. */
  tiling(matrix: FusedMatrix, tokens: number, cut: boolean): Tiling {
    return tiling(matrix, tokens, this.#hopper, this.#driver.device.multiprocessors, cut);
  }

  /** Queues one product over the operand tiles at `operand`. `rest`: what its epilogue takes. */
  launch(
    name: Product,
    matrix: FusedMatrix,
    tiles: Tiling,
    operand: DevicePtr,
    tokens: number,
    rest: readonly KernelArgument[],
  ): void {
    const found = this.#kernels.get(`${name} ${tiles.tokens}`);
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
