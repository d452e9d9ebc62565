import { describe, expect, it } from 'vitest';
import type { Kernel, KernelArgument } from '../../../server/engine/cuda/driver';
import { PART_TOKENS, padTokens, tileSizes, tiling } from '../../../server/engine/cuda/encoder_tiles';
import {
  EncoderShapeError,
  EncoderWeights,
  encoderWeightBytes,
  type WeightMemory,
} from '../../../server/engine/cuda/encoder_weights';
import type { T5Config } from '../../../server/weights/config';
import { paddedK, tensorsOf } from '../../../server/weights/layout';
import { FLAN_UL2 } from '../../fixtures/family';

const UL2: T5Config = { ...FLAN_UL2, encoderLayers: 2, decoderLayers: 3, declaredPositions: undefined };
const SMALL: T5Config = { ...UL2, dModel: 512, dKv: 64, dFf: 1000, numHeads: 6, gated: false, activation: 'relu' };
const EVERY: T5Config = { ...SMALL, gated: true, positionBias: 'every' };

interface Launched {
  readonly kernel: string;
  readonly args: readonly KernelArgument[];
}

/** A driver that hands out addresses and remembers what was asked of it. */
function memory() {
  let next = 0x1000n;
  const live = new Map<bigint, number>();
  const launches: Launched[] = [];
  const driver: WeightMemory = {
    alloc(bytes) {
      const address = next;
      next += BigInt(Math.ceil(bytes / 256) * 256);
      live.set(address, bytes);
      return address;
    },
    free: (address) => {
      live.delete(address);
    },
    fill: () => undefined,
    upload: () => undefined,
    copy: (to, from, bytes) => launches.push({ kernel: 'copy', args: [words(to), words(from), words(BigInt(bytes))] }),
    launch: (kernel, _, args) => launches.push({ kernel: kernel.name, args }),
  };
  return { driver, live, launches };
}

const kernel = (name: string): Kernel => ({ name, handle: 1n });
const words = (value: bigint) => new Uint8Array(BigUint64Array.of(value).buffer);
const int = (arg: KernelArgument | undefined) => new DataView(arg?.buffer ?? new ArrayBuffer(4)).getInt32(0, true);
const long = (arg: KernelArgument | undefined) => new DataView(arg?.buffer ?? new ArrayBuffer(8)).getBigUint64(0, true);

describe('encoder weights', () => {
  for (const [name, config] of [
    ['gated, Flan-UL2', UL2],
    ['not gated', SMALL],
    ['a bias in every block', EVERY],
  ] as const) {
    it(`owns the encoder's tensors and the cross projections, and fills every row once: ${name}`, () => {
      const { driver, live, launches } = memory();
      const weights = new EncoderWeights(driver, config, kernel);
      const rowsOf = new Map<bigint, number[]>();
      for (const { name: tensor, shape } of tensorsOf(config)) {
        const mine = tensor.startsWith('encoder.') || /EncDecAttention\.[kv]\.weight$/.test(tensor);
        expect(weights.owns(tensor), tensor).toBe(mine);
        if (!mine) continue;
        launches.length = 0;
        weights.place({ name: tensor, shape, data: 0x10n, scales: 0x20n });
        expect(launches).toHaveLength(1);
        const [launched] = launches;
        if (launched?.kernel !== 'encoder_relay') continue;
        const [, , into, n, k, row0, spread] = launched.args;
        expect(int(n)).toBe(shape[0]);
        expect(int(k)).toBe(paddedK(shape[1] ?? 0));
        const rows = rowsOf.get(long(into)) ?? [];
        rowsOf.set(long(into), rows);
        for (let i = 0; i < int(n); i++) {
          rows.push(int(row0) + (int(spread) ? 16 * Math.floor(i / 8) + (i % 8) + 8 * (int(spread) - 1) : i));
        }
      }
      for (const rows of rowsOf.values()) {
        expect(rows.sort((a, b) => a - b)).toEqual(Array.from(rows.keys()));
      }
      const matrices = [...weights.layers.flatMap((l) => [l.qkv, l.o, l.wi, l.wo]), ...weights.cross];
      expect([...rowsOf.keys()].sort()).toEqual(matrices.map((m) => m.units).sort());
      for (const m of matrices) expect(m.rowTiles).toBe(Math.ceil((rowsOf.get(m.units)?.length ?? 0) / 128));
      expect(weights.weightBytes).toBe(encoderWeightBytes(config));
      expect([...live.values()].reduce((a, b) => a + b, 0)).toBe(weights.weightBytes);
      weights.dispose();
      expect(live.size).toBe(0);
    });
  }

  it('frees what it has when the card is full', () => {
    const { driver, live } = memory();
    let left = 5;
    const failing: WeightMemory = {
      ...driver,
      alloc: (bytes, what) => {
        if (left-- === 0) throw new Error('full');
        return driver.alloc(bytes, what);
      },
    };
    expect(() => new EncoderWeights(failing, UL2, kernel)).toThrow('full');
    expect(live.size).toBe(0);
  });

  it('names widths that the kernels do not take', () => {
    const { driver } = memory();
    expect(() => new EncoderWeights(driver, { ...SMALL, dKv: 320 }, kernel)).toThrow(EncoderShapeError);
    expect(() => new EncoderWeights(driver, { ...SMALL, dFf: 1002 }, kernel)).toThrow(/feed-forward width of 1002/);
  });
});

describe('tiles of the encoder products', () => {
  const matrix = (rowTiles: number, kUnits: number) => ({ units: 0n, rowTiles, kUnits });

  it('keep parts within the work space and never leave a part empty', () => {
    for (const hopper of [true, false]) {
      for (const m of [matrix(32, 128), matrix(32, 32), matrix(3, 8), matrix(1, 1), matrix(4, 3)]) {
        for (let tokens = 1; tokens <= 4096; tokens += tokens < 300 ? 1 : 97) {
          const { tokens: size, split } = tiling(m, tokens, hopper, 132, true);
          expect(tileSizes(hopper)).toContain(size);
          if (split > 1) expect(split * padTokens(tokens)).toBeLessThanOrEqual(PART_TOKENS);
          expect(split).toBeLessThanOrEqual(m.kUnits);
          expect(tiling(m, tokens, hopper, 132, false).split).toBe(1);
        }
      }
    }
  });

  it('fill the card: cut short prompts, large tiles for long ones', () => {
    const wo = matrix(32, 128);
    expect(tiling(wo, 128, true, 132, true).split).toBeGreaterThan(1);
    expect(tiling(wo, 2048, true, 132, true)).toEqual({ tokens: 256, split: 1 });
    expect(tiling(wo, 40, true, 132, true).tokens).toBe(64);
    expect(tiling(wo, 2048, false, 108, true).tokens).toBe(128);
  });
});
