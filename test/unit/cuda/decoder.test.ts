import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { CudaDecoder } from '../../../server/engine/cuda/decoder';
import { EXCHANGED, ExchangeTurn, exchangeShape } from '../../../server/engine/cuda/decoder_exchange';
import {
  crossShape,
  decoderShapes,
  MAX_COLUMNS,
  matrixBytes,
  PRODUCTS,
  type StepAddresses,
  stepParameters,
  stepShared,
} from '../../../server/engine/cuda/decoder_shapes';
import { DecoderWeights, decoderWeightBytes } from '../../../server/engine/cuda/decoder_weights';
import type { CudaDevice, Kernel, KernelArgument } from '../../../server/engine/cuda/driver';
import { EncoderWeights, type WeightMemory } from '../../../server/engine/cuda/encoder_weights';
import { CudaShapeError } from '../../../server/engine/cuda/errors';
import { type StepDriver, StepRunner } from '../../../server/engine/cuda/step_runner';
import { CapacityError, DisposedError } from '../../../server/engine/errors';
import { NotFiniteError } from '../../../server/engine/pick';
import type { T5Config } from '../../../server/weights/config';
import { tensorsOf } from '../../../server/weights/layout';
import { FLAN_UL2 } from '../../fixtures/family';

const UL2: T5Config = { ...FLAN_UL2, encoderLayers: 2, decoderLayers: 3, declaredPositions: undefined };
const SMALL: T5Config = { ...UL2, dModel: 328, dKv: 24, dFf: 1000, numHeads: 5, vocabSize: 1003, gated: false };
const FORMS: readonly (readonly [string, T5Config])[] = [
  ['Flan-UL2', UL2],
  ['odd widths, not gated', SMALL],
  ['untied, a bias in every block', { ...SMALL, gated: true, tied: false, positionBias: 'every', activation: 'relu' }],
  ['xl', { ...UL2, dModel: 2048, dKv: 64, numHeads: 32, dFf: 5120, tied: false }],
];
const H100: CudaDevice = {
  name: 'NVIDIA H100 80GB HBM3',
  capability: 90,
  multiprocessors: 132,
  sharedBytes: 232_448,
  totalBytes: 85e9,
  driverVersion: 13_000,
};
const kernel = (name: string): Kernel => ({ name, handle: 1n });

interface Launched {
  readonly kernel: string;
  readonly args: readonly KernelArgument[];
}

/** A card that computes nothing: hands out addresses, remembers copies and launches. */
function card() {
  let next = 0x10000n;
  const live = new Map<bigint, number>();
  const launches: Launched[] = [];
  const uploads = new Map<bigint, Uint8Array>();
  let answer = (_into: Uint8Array, _from: bigint): void => undefined;
  const driver: WeightMemory & StepDriver = {
    device: H100,
    alloc(bytes) {
      const address = next;
      next += BigInt(Math.ceil(bytes / 256) * 256);
      live.set(address, bytes);
      return address;
    },
    free: (address) => void live.delete(address),
    fill: () => undefined,
    copy: () => undefined,
    allowShared: () => undefined,
    upload: (to, from) => void uploads.set(to, new Uint8Array(from.buffer.slice(0))),
    download: (into, from) => answer(new Uint8Array(into.buffer, into.byteOffset, into.byteLength), from),
    launch: (k, _, args) => void launches.push({ kernel: k.name, args }),
  };
  return { driver, live, launches, uploads, answers: (use: typeof answer) => (answer = use) };
}

/** Offsets of the members of `StepParams`, read from the kernels' own header. */
function structOffsets(): { offsets: Map<string, number>; bytes: number } {
  const header = readFileSync(join(__dirname, '../../../server/engine/cuda/kernels/decoder.cuh'), 'utf8');
  const sizes: Record<string, number> = { uint64_t: 8, int32_t: 4, float: 4, Matrix: 32 };
  const body = /struct StepParams \{([\s\S]*?)\n\};/.exec(header)?.[1] ?? '';
  const offsets = new Map<string, number>();
  let at = 0;
  for (const line of body.split('\n')) {
    const found = /^\s*(\w+) ([\w, [\]]+);/.exec(line);
    if (!found) continue;
    const size = sizes[found[1] ?? ''];
    if (size === undefined) throw new Error(`An unknown type in StepParams: ${line}`);
    for (const member of (found[2] ?? '').split(',')) {
      const [, name = '', count] = /^\s*(\w+)(?:\[(\w+)\])?\s*$/.exec(member) ?? [];
      // Nothing is padded by hand: every member must lie at a multiple of its alignment already.
      expect(at % Math.min(size, 8), name).toBe(0);
      offsets.set(name, at);
      at += size * (count === undefined ? 1 : count === 'MAX_COLUMNS' ? MAX_COLUMNS : Number(count));
    }
  }
  return { offsets, bytes: at };
}

describe('step parameters', () => {
  const names = 'layers head embedding norms bias exchange logits bests results picked counters';
  const fixed = Object.fromEntries(
    names.split(' ').map((name, i) => [name, BigInt(0x1000 * (i + 1))]),
  ) as unknown as StepAddresses;

  it('lie where the kernels read them', () => {
    const shapes = decoderShapes(UL2, 132);
    const cross = crossShape(shapes, 700, 132);
    const decoder = {
      partial: 0xa1n,
      keys: 0xa2n,
      values: 0xa3n,
      rowOf: 0xa4n,
      cross: 0xa5n,
      crossShape: cross,
      sourceTokens: 700,
      rows: 4,
      capacity: 99,
    };
    const bytes = stepParameters(shapes, H100, fixed, decoder, {
      tokens: Int32Array.of(11, 12, 13),
      targets: Int32Array.of(21, 22, 23),
      first: 8,
      perRow: 5,
      length: 17,
      reordered: true,
      counterSet: 1,
      slot: 2,
      dirty: 7,
    });
    const { offsets, bytes: size } = structOffsets();
    expect(bytes.byteLength).toBe(size);
    const view = new DataView(bytes.buffer);
    const int = (name: string, index = 0) => view.getInt32((offsets.get(name) ?? NaN) + 4 * index, true);
    const address = (name: string) => view.getBigUint64(offsets.get(name) ?? NaN, true);
    for (const name of names.split(' ')) {
      if (['layers', 'head', 'counters', 'exchange', 'picked'].includes(name)) continue;
      expect(address(name), name).toBe(fixed[name as keyof StepAddresses]);
    }
    const exchange = exchangeShape(shapes, 132);
    for (const name of EXCHANGED) expect(address(name), name).toBe(fixed.exchange + BigInt(exchange.offsets[name]));
    expect(address('slotBytes')).toBe(BigInt(exchange.slotBytes));
    const counterBytes = BigInt(4 * shapes.counterWords);
    expect(address('counters')).toBe(fixed.counters + counterBytes);
    expect(address('nextCounters')).toBe(fixed.counters);
    expect(['partial', 'keys', 'values', 'rowOf', 'cross'].map(address)).toEqual([0xa1n, 0xa2n, 0xa3n, 0xa4n, 0xa5n]);
    expect(address('layerStride')).toBe(BigInt(shapes.layerBytes));
    expect(address('cacheStride')).toBe(BigInt(4 * 16 * 99 * 256 * 2));
    expect(address('crossStride')).toBe(BigInt(cross.layerBytes));
    const wanted = {
      layers: 3,
      heads: 16,
      headWidth: 256,
      dModel: 4096,
      vocab: 32128,
      maxDistance: 128,
      biasStride: 0,
      gridPad: 144,
      activation: 2,
      gated: 1,
      counterWords: shapes.counterWords,
      stages: stepShared(H100, false).stages,
      columns: 3,
      perRow: 5,
      firstColumn: 8,
      length: 17,
      capacity: 99,
      crossSlots: cross.slots,
      crossParts: cross.parts,
      sourceLength: 700,
      crossShare: cross.share,
      widthShift: 8,
      dKv: 256,
      slot: 2,
      dirty: 7,
    };
    for (const [name, value] of Object.entries(wanted)) expect(int(name), name).toBe(value);
    expect(view.getFloat32(offsets.get('epsilon') ?? NaN, true)).toBeCloseTo(1e-6, 12);
    expect(view.getFloat32(offsets.get('logitScale') ?? NaN, true)).toBe(1 / 64);
    expect([0, 1, 2, 3].map((i) => int('tokens', i))).toEqual([11, 12, 13, 0]);
    expect([0, 1, 2, 3].map((i) => int('targets', i))).toEqual([21, 22, 23, 0]);
    const matrices = offsets.get('matrices') ?? NaN;
    for (const [i, name] of PRODUCTS.entries()) {
      const m = shapes.matrices[name];
      expect(view.getBigUint64(matrices + 32 * i, true)).toBe(fixed.layers + BigInt(m.offset));
      const numbers = [8, 12, 16, 20, 24].map((at) => view.getInt32(matrices + 32 * i + at, true));
      expect(numbers).toEqual([m.tiles, m.chunks, m.unit, m.group, m.parts]);
    }
    expect(view.getBigUint64(matrices + 32 * 6, true)).toBe(fixed.head);
  });
});

describe('shapes', () => {
  it('cut every width into parts without an empty one, and units into 16 warps', () => {
    for (const multiprocessors of [1, 20, 84, 132, 170]) {
      for (let dFf = 8; dFf <= 20_000; dFf += 8 * 37) {
        const shapes = decoderShapes({ ...SMALL, dFf, dModel: 8 * Math.ceil(dFf / 24) }, multiprocessors);
        for (const m of [...Object.values(shapes.matrices), shapes.head]) {
          expect(m.unit * m.group).toBeLessThanOrEqual(16);
          expect(m.unit * m.parts).toBeGreaterThanOrEqual(m.chunks);
          expect(m.unit * (m.parts - 1)).toBeLessThan(m.chunks);
          if (m.parts > 1) expect(m.group).toBe(1);
        }
        const { o, xo, wo } = shapes.matrices;
        expect(new Set([o.group, xo.group, wo.group]).size).toBe(1);
      }
    }
  });

  it('share all of a source among blocks', () => {
    for (const [, config] of FORMS) {
      const shapes = decoderShapes(config, 132);
      for (let tokens = 1; tokens < 3000; tokens += 13) {
        const { slots, parts, share } = crossShape(shapes, tokens, 132);
        expect(slots * (4096 / shapes.headWidth)).toBeGreaterThanOrEqual(tokens);
        expect(parts * share).toBeGreaterThanOrEqual(slots);
        expect((parts - 1) * share).toBeLessThan(slots);
      }
    }
  });

  it('leave room for at least four stages on every supported card', () => {
    // 8.6 and 8.9 have the least shared memory: 99 KB for a block.
    for (const one of [true, false]) {
      expect(stepShared({ ...H100, sharedBytes: 101_376 }, one).stages).toBeGreaterThanOrEqual(4);
    }
  });
});

describe('exchange slots', () => {
  it('hold every array once, each in whole 256 bytes', () => {
    for (const [, config] of FORMS) {
      const { offsets, slotBytes, bytes } = exchangeShape(decoderShapes(config, 132), 132);
      const places = [...EXCHANGED.map((name) => offsets[name]), slotBytes];
      expect(places).toEqual([...places].sort((a, b) => a - b));
      expect(new Set(places).size).toBe(places.length);
      for (const place of places) expect(place % 256).toBe(0);
      expect(bytes).toBe(3 * slotBytes);
    }
  });

  it('take turns: a step begins with the slot that the one before cleaned', () => {
    for (const layers of [1, 2, 3, 24]) {
      const turn = new ExchangeTurn();
      let dirty = 0;
      let slot = 0;
      for (const columns of [8, 1, 3, 1]) {
        expect(turn.next(columns, layers)).toEqual({ slot, dirty });
        // Layers 0 to `layers` (the output) take the slots in turn, and the last two stay as they are.
        slot = (slot + layers + 1) % 3;
        dirty = columns;
      }
    }
  });
});

describe('decoder weights', () => {
  for (const [name, config] of FORMS) {
    it(`own what the encoder does not, and fill every row once: ${name}`, () => {
      const { driver, live, launches } = card();
      const shapes = decoderShapes(config, 132);
      const weights = new DecoderWeights(driver, shapes, kernel);
      expect(weights.weightBytes).toBe(decoderWeightBytes(shapes));
      expect([...live.values()].reduce((a, b) => a + b, 0)).toBe(weights.weightBytes);
      const encoder = new EncoderWeights(card().driver, config, kernel);
      const rows = new Map<bigint, number[]>();
      for (const { name: tensor, shape } of tensorsOf(config)) {
        expect(weights.owns(tensor), tensor).toBe(!encoder.owns(tensor));
        if (!weights.owns(tensor)) continue;
        launches.length = 0;
        weights.place({ name: tensor, shape, data: 0x10n, scales: 0x20n });
        expect(launches).toHaveLength(1);
        const launched = launches[0];
        if (launched?.kernel !== 'decoder_relay') continue;
        const [, , to, n, , , , firstRow, half8, rowHead, padded] = launched.args;
        const target = rows.get(long(to)) ?? [];
        rows.set(long(to), target);
        for (let i = 0; i < int(n); i++) {
          const plain = int(firstRow) + Math.floor(i / int(rowHead)) * int(padded) + (i % int(rowHead));
          target.push(int(half8) < 0 ? plain : Math.floor(i / 8) * 16 + int(half8) * 8 + (i % 8));
        }
      }
      const bases = new Map<bigint, number>();
      for (let layer = 0; layer < config.decoderLayers; layer++) {
        for (const m of Object.values(shapes.matrices)) {
          bases.set(weights.layers + BigInt(layer * shapes.layerBytes + m.offset), m.tiles * 16);
        }
      }
      bases.set(weights.embedding.address, shapes.head.tiles * 16);
      bases.set(weights.head, shapes.head.tiles * 16);
      expect([...rows.keys()].sort()).toEqual([...bases.keys()].sort());
      for (const [base, filled] of rows) {
        expect(new Set(filled).size).toBe(filled.length);
        expect(Math.max(...filled)).toBeLessThan(bases.get(base) ?? 0);
      }
      weights.dispose();
      expect(live.size).toBe(0);
    });
  }

  it('name widths that the kernels do not take', () => {
    const make = (change: Partial<T5Config>) => () =>
      new DecoderWeights(card().driver, decoderShapes({ ...SMALL, ...change }, 132), kernel);
    expect(make({ dKv: 320 })).toThrow(CudaShapeError);
    expect(make({ dFf: 1002 })).toThrow(/feed-forward width of 1002/);
    expect(make({ dModel: 330 })).toThrow(/width of 330/);
  });
});

describe('a decoder', () => {
  function setup(rows: number, capacity = 32) {
    const world = card();
    const shapes = decoderShapes(SMALL, 132);
    const weights = { layers: 1n, head: 2n, embedding: { address: 3n, chunks: 2 }, norms: 4n, bias: 6n };
    const runner = new StepRunner(world.driver, shapes, weights, kernel);
    expect(world.launches.splice(0).map(({ kernel: name }) => name)).toEqual(['decoder_clean']);
    const before = world.live.size;
    const memory = { tokens: 40, address: 7n, shape: crossShape(shapes, 40, 132) };
    const decoder = new CudaDecoder(runner, memory, rows, capacity, (work) => work());
    const { offsets } = structOffsets();
    const launched = () =>
      world.launches.splice(0).map(({ kernel: name, args }) => {
        const view = new DataView(args[0]?.buffer ?? new ArrayBuffer(0));
        const int = (field: string, i = 0) => view.getInt32((offsets.get(field) ?? NaN) + 4 * i, true);
        return {
          name,
          first: int('firstColumn'),
          columns: int('columns'),
          length: int('length'),
          token: int('tokens'),
        };
      });
    return { ...world, runner, decoder, before, launched };
  }

  it('feeds up to eight columns a launch, and one column to its own kernel', async () => {
    const { decoder, launched, answers } = setup(9);
    answers((into, from) => {
      const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
      for (let i = 0; i < into.byteLength / 16; i++) {
        view.setInt32(16 * i, 100 + i, true);
        view.setFloat32(16 * i + 4, -0.5, true);
      }
      expect(from).toBeGreaterThan(0n);
    });
    const tokens = Int32Array.from({ length: 9 }, (_, i) => i + 1);
    const { ids, logprobs } = await decoder.step(tokens, 1, { kind: 'argmax' });
    expect(launched()).toEqual([
      { name: 'decoder_step_8', first: 0, columns: 8, length: 0, token: 1 },
      { name: 'decoder_step_1', first: 8, columns: 1, length: 0, token: 9 },
    ]);
    expect([...ids]).toEqual([100, 101, 102, 103, 104, 105, 106, 107, 100]);
    expect(logprobs.every((value) => value === -0.5)).toBe(true);
    expect(decoder.length).toBe(1);
  });

  it('takes log-probabilities of targets, and whole logits row by row', async () => {
    const { decoder, answers } = setup(1);
    answers((into) => new Float32Array(into.buffer, into.byteOffset, into.byteLength / 4).fill(-2));
    const scored = await decoder.step(Int32Array.of(1, 2, 3), 3, { kind: 'score', targets: Int32Array.of(4, 5, 6) });
    expect([...scored.logprobs]).toEqual([-2, -2, -2]);
    const { logits } = await decoder.step(Int32Array.of(7), 1, { kind: 'logits' });
    expect(logits).toHaveLength(SMALL.vocabSize);
    expect(decoder.length).toBe(4);
  });

  it('draws and finds the best on the card, for each launch from its own logits', async () => {
    const { decoder, launches, answers } = setup(9);
    answers((into) => {
      const view = new DataView(into.buffer, into.byteOffset, into.byteLength);
      for (let at = 0; at < into.byteLength; at += 8) {
        view.setInt32(at, 100 + at / 8, true);
        view.setFloat32(at + 4, at === 8 ? -0.25 : -0.5, true);
      }
    });
    const best = await decoder.step(new Int32Array(9).fill(1), 1, { kind: 'top', count: 2 });
    // Best first; of equal ones the lower id.
    expect([...best.ids]).toEqual([101, 100, ...Array.from({ length: 14 }, (_, i) => 102 + i), 101, 100]);
    expect([...best.logprobs.slice(0, 3)]).toEqual([-0.25, -0.5, -0.5]);
    const uniforms = Float64Array.from({ length: 9 }, (_, i) => i / 10);
    const rule = { kind: 'sample', temperature: 0.5, topK: 7, topP: 0.9, uniforms } as const;
    const drawn = await decoder.step(new Int32Array(9).fill(1), 1, rule);
    expect([...drawn.ids]).toEqual([100, 101, 102, 103, 104, 105, 106, 107, 100]);
    const picks = launches.filter(({ kernel: name }) => name === 'decoder_pick').map(({ args }) => args[0]);
    expect(picks).toHaveLength(4);
    const bytes = picks[3] ?? new Uint8Array(0);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect([24, 28, 32, 36].map((at) => view.getInt32(at, true))).toEqual([1008, SMALL.vocabSize, 0, 7]);
    expect([40, 48, 56, 64].map((at) => view.getFloat64(at, true))).toEqual([2, 0.9, 0.8, 0]);
  });

  it('names logits that are not numbers', async () => {
    const { decoder, answers } = setup(1);
    answers((into) => new Float32Array(into.buffer, into.byteOffset, into.byteLength / 4).fill(Number.NaN));
    const uniforms = Float64Array.of(0.5);
    for (const pick of [
      { kind: 'argmax' },
      { kind: 'top', count: 2 },
      { kind: 'sample', temperature: 1, topK: 0, topP: 1, uniforms },
    ] as const) {
      await expect(decoder.step(Int32Array.of(1), 1, pick)).rejects.toThrow(NotFiniteError);
    }
    await expect(
      decoder.step(Int32Array.of(1), 1, {
        kind: 'sample',
        temperature: 1,
        topK: 0,
        topP: 1,
        uniforms: new Float64Array(0),
      }),
    ).rejects.toThrow('0 draws for 1 positions');
  });

  it('reorders by changing who reads what', async () => {
    const { decoder, uploads, answers } = setup(3, 8);
    answers((into) => new Float32Array(into.buffer, into.byteOffset, into.byteLength / 4).fill(-1));
    await decoder.step(Int32Array.of(1, 1, 1, 2, 2, 2), 2, { kind: 'argmax' });
    await decoder.reorder(Int32Array.of(0, 1, 2));
    expect(uploads.size).toBe(0);
    await decoder.reorder(Int32Array.of(2, 0, 0));
    const table = () => [...uploads.values()].at(-1) ?? new Uint8Array(0);
    const row = (r: number) => [...table().subarray(8 * r, 8 * r + 8)];
    expect([row(0), row(1), row(2)]).toEqual([
      [2, 2, 0, 0, 0, 0, 0, 0],
      [0, 0, 1, 1, 1, 1, 1, 1],
      [0, 0, 2, 2, 2, 2, 2, 2],
    ]);
    await decoder.step(Int32Array.of(3, 3, 3), 1, { kind: 'argmax' });
    await decoder.reorder(Int32Array.of(1, 0, 0));
    expect([row(0), row(1)]).toEqual([
      [0, 0, 1, 0, 0, 0, 0, 0],
      [2, 2, 0, 1, 1, 1, 1, 1],
    ]);
    // What is dropped is written again by its own row.
    await decoder.truncate(1);
    expect(row(1)).toEqual([2, 1, 1, 1, 1, 1, 1, 1]);
  });

  it('refuses what it cannot hold, and what comes after its end', async () => {
    const { decoder, live, before } = setup(2, 4);
    const step = (tokens: number[], perRow: number) =>
      decoder.step(Int32Array.from(tokens), perRow, { kind: 'argmax' });
    await expect(step(Array(10).fill(1), 5)).rejects.toThrow(CapacityError);
    await expect(step([1], 1)).rejects.toThrow(RangeError);
    await expect(step([1, SMALL.vocabSize], 1)).rejects.toThrow(RangeError);
    await expect(decoder.reorder(Int32Array.of(0, 2))).rejects.toThrow(RangeError);
    await expect(decoder.truncate(1)).rejects.toThrow(RangeError);
    decoder.dispose();
    decoder.dispose();
    expect(live.size).toBe(before);
    await expect(step([1, 1], 1)).rejects.toThrow(DisposedError);
  });

  it('calls values that are no numbers by name', async () => {
    const { decoder, answers } = setup(1);
    answers((into) => new Float32Array(into.buffer, into.byteOffset, into.byteLength / 4).fill(NaN));
    await expect(decoder.step(Int32Array.of(1), 1, { kind: 'argmax' })).rejects.toThrow(/not numbers/);
  });

  it('counts the bytes of a layer as the file does, but for padding', () => {
    const shapes = decoderShapes(UL2, 132);
    const weights = 4096 * (4 * 4096 + 2 * 4096 + 3 * 16384);
    expect(shapes.layerBytes).toBe(weights + weights / 64);
    expect(matrixBytes(shapes.head)).toBe((32128 * 4096 * 65) / 64);
  });
});

function int(arg: KernelArgument | undefined): number {
  return new DataView(arg?.buffer ?? new ArrayBuffer(0)).getInt32(0, true);
}

function long(arg: KernelArgument | undefined): bigint {
  return new DataView(arg?.buffer ?? new ArrayBuffer(0)).getBigUint64(0, true);
}
