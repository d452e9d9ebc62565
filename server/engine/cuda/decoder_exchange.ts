/**
 * Where the arrays lie through which the blocks of a step exchange activations: the TypeScript half of
 * kernels/decoder_exchange.cuh, where slots, and how they become clean again, are explained.
 */
import { type DecoderShapes, MAX_COLUMNS } from './decoder_shapes';

const SLOTS = 3;

/** The arrays of a slot, in the order of `StepParams`. */
export const EXCHANGED = [
  'x',
  'normed',
  'normedPowers',
  'squares',
  'q',
  'fresh',
  'attended',
  'crossPieces',
  'xqueries',
  'hidden',
  'exponents',
] as const;

export interface ExchangeShape {
  /** Byte offset of each array in a slot. */
  readonly offsets: Readonly<Record<(typeof EXCHANGED)[number], number>>;
  readonly slotBytes: number;
  /** Of all slots. */
  readonly bytes: number;
}

export function exchangeShape(shapes: DecoderShapes, multiprocessors: number): ExchangeShape {
  const { dPad, innerPad, ffPad, gridPad, headWidth, matrices, config } = shapes;
  const attended = matrices.o.chunks * 256;
  // Arrays, values of a column in each, bytes of a value.
  const sizes: Record<(typeof EXCHANGED)[number], readonly [number, number, number]> = {
    x: [3, dPad, 4],
    normed: [3, dPad, 2],
    normedPowers: [3, dPad / 8, 1],
    squares: [3, gridPad, 4],
    q: [1, innerPad, 4],
    fresh: [2, innerPad, 2],
    attended: [2, attended, 2],
    // Heads are cut into as many parts as there are multiprocessors at most.
    crossPieces: [Math.max(multiprocessors, config.numHeads), headWidth + 4, 4],
    xqueries: [1, innerPad, 2],
    hidden: [1, ffPad, 2],
    exponents: [1, ffPad / 8, 1],
  };
  const offsets: Record<string, number> = {};
  let slotBytes = 0;
  for (const name of EXCHANGED) {
    const [arrays, width, bytes] = sizes[name];
    offsets[name] = slotBytes;
    slotBytes += Math.ceil((arrays * MAX_COLUMNS * width * bytes) / 256) * 256;
  }
  return { offsets: offsets as ExchangeShape['offsets'], slotBytes, bytes: SLOTS * slotBytes };
}

/** Which slot the next step begins with, and how many columns the last one left in the others. */
export class ExchangeTurn {
  #slot = 0;
  #dirty = 0;

  /** What a step of `columns` columns in `layers` layers is told. */
  next(columns: number, layers: number): { readonly slot: number; readonly dirty: number } {
    const turn = { slot: this.#slot, dirty: this.#dirty };
    this.#slot = (this.#slot + layers + 1) % SLOTS;
    this.#dirty = columns;
    return turn;
  }
}
