/**
 * Tokens picked on the card from a step's logits: the parameters of kernels/decoder_pick.cu (where the rules are explained),
 * and what comes back. The same as `pickFrom` gives on the host, but for probabilities within rounding of a limit.
 */
import type { Pick } from '../engine';
import { NotFiniteError } from '../pick';
import { type DecoderShapes, MAX_COLUMNS, type StepAddresses } from './decoder_shapes';
import { ParameterWriter } from './parameters';

export const PICK_THREADS = 1024;
/** `PickWork` of the kernel: bins and sums of 8 bytes, one more sum, three counts. */
export const PICK_SHARED = 8 * (2 * PICK_THREADS + PICK_THREADS / 32 + 1) + 16;
/** The best ids of a position that the card picks at a time; for more, the host looks through all logits. */
export const MAX_PICKED = 128;
/** An id and its log-probability. */
const PICKED_BYTES = 8;
export const PICKED_TOTAL_BYTES = MAX_COLUMNS * MAX_PICKED * PICKED_BYTES;

/** A draw, or the best few. */
export type CardPick = Extract<Pick, { kind: 'sample' | 'top' }>;

export function picksOnCard(pick: Pick): pick is CardPick {
  return pick.kind === 'sample' || (pick.kind === 'top' && pick.count <= MAX_PICKED);
}

/** Ids that `pick` gives for a position. */
export function pickedCount(pick: CardPick, vocabSize: number): number {
  return pick.kind === 'top' ? Math.min(pick.count, vocabSize) : 1;
}

/** `PickParams` of the kernel, for the positions from `first` that the last launch of the step kernel computed. */
export function pickParameters(shapes: DecoderShapes, fixed: StepAddresses, pick: CardPick, first: number): Uint8Array {
  const { vocabSize } = shapes.config;
  const out = new ParameterWriter(3 * 8 + 4 * 4 + 2 * 8 + MAX_COLUMNS * 8);
  out.address(fixed.logits, fixed.results, fixed.picked);
  out.int(shapes.head.tiles * 16, vocabSize);
  if (pick.kind === 'top') {
    out.int(pickedCount(pick, vocabSize), 0);
    out.double(1, 1, ...new Array<number>(MAX_COLUMNS).fill(0));
  } else {
    if (!(pick.temperature > 0)) throw new RangeError('A temperature for sampling must be above 0.');
    out.int(0, Math.min(pick.topK, vocabSize));
    out.double(1 / pick.temperature, pick.topP);
    for (let i = 0; i < MAX_COLUMNS; i++) out.double(pick.uniforms[first + i] ?? 0);
  }
  return out.finish();
}

/**
 * Reads what the kernel picked for `columns` positions into `ids` and `logprobs` [positions * count], from position
 * `first` on, best first.
 *
 * @throws NotFiniteError when the logits were not numbers.
 */
export function readPicked(
  bytes: Uint8Array,
  count: number,
  first: number,
  into: { readonly ids: Int32Array; readonly logprobs: Float32Array },
): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let start = 0; start < bytes.byteLength / PICKED_BYTES; start += count) {
    const picked = Array.from({ length: count }, (_, i) => ({
      id: view.getInt32((start + i) * PICKED_BYTES, true),
      logprob: view.getFloat32((start + i) * PICKED_BYTES + 4, true),
    }));
    if (!picked.every(({ logprob }) => Number.isFinite(logprob))) throw new NotFiniteError();
    picked.sort((a, b) => b.logprob - a.logprob || a.id - b.id);
    for (const [i, { id, logprob }] of picked.entries()) {
      into.ids[first * count + start + i] = id;
      into.logprobs[first * count + start + i] = logprob;
    }
  }
}

/** Bytes that `columns` positions with `count` ids take on the card. */
export function pickedBytes(columns: number, count: number): number {
  return columns * count * PICKED_BYTES;
}
