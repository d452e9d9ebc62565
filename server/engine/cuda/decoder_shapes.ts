/**
 * The decoder's geometry on the card, and its kernel parameters: the TypeScript half of kernels/decoder.cuh, where the
 * words (chunk, unit, stage, column) are explained. Pure numbers; nothing here touches the card.
 */
import type { T5Config } from '../../weights/config';
import { EXCHANGED, exchangeShape } from './decoder_exchange';
import type { CudaDevice } from './driver';
import { CudaShapeError } from './errors';
import { ParameterWriter } from './parameters';
import type { DevicePtr } from './seams';

/** Columns that one launch of the step kernel takes. */
export const MAX_COLUMNS = 8;
export const STEP_THREADS = 20 * 32;
/** Bytes of one cross-attention stage, keys and values: 4096 / headWidth source tokens of one head. */
export const CROSS_BYTES = 16_384;
export const RESULT_BYTES = 16;
/** Self-attention keys that one block takes. */
const SPLIT_KEYS = 64;
const CHUNK_K = 256;
const CHUNK_BYTES = 4160;
const STAGE_BYTES = 4 * CHUNK_BYTES;
const WARPS = 16;
const POINTS = 9;
const COUNTER_WORDS = 8;
const MAX_STAGES = 16;
/**
 * Of one column and of several, by `decoder_test sweep` (NOTES.md). Copies under way on a multiprocessor at a time: few keep
 * the memory as busy as many do, and what other warps load meanwhile waits less behind them. Stages at most that the
 * second-level cache is asked for while the ring has no room, and cycles between two of them: with several columns the memory
 * is not what a step waits for. Of 128 blocks those that the others do not wait for before they look for the values.
 */
const COPIES = {
  one: { inFlight: 3, ahead: 16, pace: 3000, late: 48 },
  several: { inFlight: 2, ahead: 0, pace: 0, late: 64 },
} as const;
/** `Shape<NC>::FIXED_BYTES` of kernels/decoder_step.cu: barriers, work space, totals. */
const FIXED_BYTES = { one: 512 + 17_408 + 512, eight: 512 + 17_408 + 4096 } as const;

/**
 * The number that the kernels know an activation by.
 *
 * @throws CudaShapeError for one that they do not have.
 */
export function activationCode(activation: T5Config['activation']): number {
  switch (activation) {
    case 'relu':
      return 0;
    case 'gelu_new':
      return 1;
    case 'silu':
      return 2;
    case 'gelu':
      throw new CudaShapeError('the activation gelu (without an approximation) is not in its kernels');
  }
}

export interface Matrix {
  /** Byte offset in a layer. */
  readonly offset: number;
  /** Tiles of 16 rows, and chunks of 256 k in each. */
  readonly tiles: number;
  readonly chunks: number;
  readonly unit: number;
  readonly group: number;
  readonly parts: number;
}

export const PRODUCTS = ['qkv', 'o', 'xq', 'xo', 'wi', 'wo'] as const;
export type Product = (typeof PRODUCTS)[number];

export interface DecoderShapes {
  readonly config: T5Config;
  /** Width of a head in the kernels: dKv rounded up to 64, 128 or 256. */
  readonly headWidth: number;
  readonly matrices: Readonly<Record<Product, Matrix>>;
  readonly head: Matrix;
  readonly layerBytes: number;
  /** dModel, heads * headWidth and dFf, in whole chunks. */
  readonly dPad: number;
  readonly innerPad: number;
  readonly ffPad: number;
  /** Entries of one layer's bias table. */
  readonly biasEntries: number;
  readonly gridPad: number;
  readonly counterWords: number;
}

/** Bytes of a matrix with its scales. */
export function matrixBytes(matrix: Matrix): number {
  return matrix.tiles * matrix.chunks * CHUNK_BYTES;
}

export function decoderShapes(config: T5Config, multiprocessors: number): DecoderShapes {
  const { dModel, dFf, dKv, numHeads, gated, vocabSize, decoderLayers, relativeMaxDistance } = config;
  const headWidth = dKv <= 64 ? 64 : dKv <= 128 ? 128 : 256;
  const inner = numHeads * headWidth;
  const shape = (rows: number, k: number): Matrix => {
    const tiles = Math.ceil(rows / 16);
    const chunks = Math.ceil(k / CHUNK_K);
    const parts = Math.ceil(chunks / WARPS);
    const unit = Math.ceil(chunks / parts);
    const most = Math.min(Math.floor(tiles / multiprocessors), Math.floor(WARPS / unit));
    return { offset: 0, tiles, chunks, unit, parts, group: parts > 1 ? 1 : Math.max(1, most) };
  };
  const shapes: Record<Product, Matrix> = {
    qkv: shape(3 * inner, dModel),
    o: shape(dModel, numHeads * dKv),
    xq: shape(inner, dModel),
    xo: shape(dModel, numHeads * dKv),
    wi: shape(gated ? Math.ceil(dFf / 8) * 16 : dFf, dModel),
    wo: shape(dModel, dFf),
  };
  // What is added to the residual stream is cut among the blocks in the same way each time (the sums of squares are).
  const group = Math.min(shapes.o.group, shapes.xo.group, shapes.wo.group);
  let layerBytes = 0;
  for (const name of PRODUCTS) {
    const adds = name === 'o' || name === 'xo' || name === 'wo';
    shapes[name] = { ...shapes[name], offset: layerBytes, ...(adds && { group }) };
    layerBytes += matrixBytes(shapes[name]);
  }
  return {
    config,
    headWidth,
    matrices: shapes,
    head: shape(vocabSize, dModel),
    layerBytes,
    dPad: pad(dModel),
    innerPad: pad(inner),
    ffPad: pad(dFf),
    biasEntries: numHeads * (relativeMaxDistance + 1),
    gridPad: Math.ceil(multiprocessors / 16) * 16,
    counterWords: (decoderLayers + 1) * POINTS * COUNTER_WORDS + decoderLayers * (MAX_COLUMNS + 1) * numHeads,
  };
}

/** How the source's keys and values are cut into stages and shared among blocks. */
export interface CrossShape {
  readonly slots: number;
  readonly parts: number;
  readonly share: number;
  readonly layerBytes: number;
}

export function crossShape(shapes: DecoderShapes, tokens: number, multiprocessors: number): CrossShape {
  const { numHeads } = shapes.config;
  const slots = Math.ceil(tokens / (4096 / shapes.headWidth));
  const share = Math.ceil(slots / Math.max(1, Math.min(slots, Math.floor(multiprocessors / numHeads))));
  return { slots, share, parts: Math.ceil(slots / share), layerBytes: numHeads * slots * CROSS_BYTES };
}

/** Shared memory and stages of the step kernel for one or for up to eight columns. */
export function stepShared(device: CudaDevice, one: boolean): { readonly bytes: number; readonly stages: number } {
  const fixed = one ? FIXED_BYTES.one : FIXED_BYTES.eight;
  const stages = Math.min(MAX_STAGES, Math.floor((device.sharedBytes - fixed) / STAGE_BYTES));
  return { bytes: fixed + stages * STAGE_BYTES, stages };
}

/** Bytes of one row's keys, or of its values, in all layers. */
export function cacheLayerBytes(shapes: DecoderShapes, rows: number, capacity: number): number {
  return rows * shapes.config.numHeads * capacity * shapes.headWidth * 2;
}

/** Floats that blocks leave in self-attention for the one that joins them. */
export function partialFloats(shapes: DecoderShapes, capacity: number): number {
  return MAX_COLUMNS * shapes.config.numHeads * Math.ceil(capacity / SPLIT_KEYS) * (shapes.headWidth + 8);
}

/** Addresses that stay the same from step to step. */
export interface StepAddresses {
  readonly layers: DevicePtr;
  readonly head: DevicePtr;
  readonly embedding: DevicePtr;
  readonly norms: DevicePtr;
  readonly bias: DevicePtr;
  /** The slots of decoder_exchange.ts. */
  readonly exchange: DevicePtr;
  readonly logits: DevicePtr;
  readonly bests: DevicePtr;
  readonly results: DevicePtr;
  readonly picked: DevicePtr;
  /** Two sets of counters. */
  readonly counters: DevicePtr;
}

/** What one decoder adds. */
export interface DecoderAddresses {
  readonly partial: DevicePtr;
  readonly keys: DevicePtr;
  readonly values: DevicePtr;
  readonly rowOf: DevicePtr;
  readonly cross: DevicePtr;
  readonly crossShape: CrossShape;
  readonly sourceTokens: number;
  readonly rows: number;
  readonly capacity: number;
}

/** What one launch adds. */
export interface StepColumns {
  readonly tokens: Int32Array;
  /** Log-probabilities of these are returned too; one a column, or none. */
  readonly targets: Int32Array | undefined;
  /** Columns first .. of rows x perRow. */
  readonly first: number;
  readonly perRow: number;
  /** Tokens in every row's cache. */
  readonly length: number;
  /** Whether rows read other rows' caches (`rowOf`). */
  readonly reordered: boolean;
  /** Which of the two sets of counters. */
  readonly counterSet: 0 | 1;
  /** The first layer's exchange slot, and the columns of the step before. */
  readonly slot: number;
  readonly dirty: number;
}

const PARAMETER_BYTES = 640;

/** `StepParams` of kernels/decoder.cuh, byte by byte. */
export function stepParameters(
  shapes: DecoderShapes,
  device: CudaDevice,
  fixed: StepAddresses,
  decoder: DecoderAddresses,
  step: StepColumns,
): Uint8Array {
  const { config } = shapes;
  const out = new ParameterWriter(PARAMETER_BYTES);
  const matrix = (m: Matrix, base: DevicePtr) => {
    out.address(base + BigInt(m.offset));
    out.int(m.tiles, m.chunks, m.unit, m.group, m.parts, 0);
  };
  for (const name of PRODUCTS) matrix(shapes.matrices[name], fixed.layers);
  matrix(shapes.head, fixed.head);
  const counterBytes = BigInt(shapes.counterWords * 4);
  const columns = step.tokens.length;
  const exchange = exchangeShape(shapes, device.multiprocessors);
  out.address(
    BigInt(shapes.layerBytes),
    fixed.embedding,
    fixed.norms,
    fixed.bias,
    ...EXCHANGED.map((name) => fixed.exchange + BigInt(exchange.offsets[name])),
    BigInt(exchange.slotBytes),
    decoder.partial,
    fixed.logits,
    fixed.bests,
    fixed.results,
    fixed.counters + BigInt(step.counterSet) * counterBytes,
    fixed.counters + BigInt(1 - step.counterSet) * counterBytes,
    decoder.keys,
    decoder.values,
    BigInt(cacheLayerBytes(shapes, decoder.rows, decoder.capacity)),
    step.reordered ? decoder.rowOf : 0n,
    decoder.cross,
    BigInt(decoder.crossShape.layerBytes),
  );
  const { stages } = stepShared(device, columns === 1);
  out.int(config.decoderLayers, config.numHeads, shapes.headWidth, config.dModel);
  out.int(config.vocabSize, config.relativeMaxDistance);
  out.int(config.positionBias === 'every' ? shapes.biasEntries : 0, shapes.gridPad);
  out.int(activationCode(config.activation), config.gated ? 1 : 0, shapes.counterWords, stages);
  out.int(columns, step.perRow, step.first, step.length);
  out.int(decoder.capacity, decoder.crossShape.slots, decoder.crossShape.parts, decoder.sourceTokens);
  const { inFlight, ahead, pace, late } = columns === 1 ? COPIES.one : COPIES.several;
  out.int(decoder.crossShape.share, Math.log2(shapes.headWidth), Math.min(inFlight, stages), config.dKv);
  out.int(ahead, pace, step.slot, step.dirty, late, 0);
  out.float(config.layerNormEpsilon, config.tied ? config.dModel ** -0.5 : 1);
  for (let i = 0; i < MAX_COLUMNS; i++) out.int(step.tokens[i] ?? 0);
  for (let i = 0; i < MAX_COLUMNS; i++) out.int(step.targets?.[i] ?? 0);
  return out.finish();
}

function pad(width: number): number {
  return Math.ceil(width / CHUNK_K) * CHUNK_K;
}
