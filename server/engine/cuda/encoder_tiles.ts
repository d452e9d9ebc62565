/**
 * How an encoder product is cut into tiles: 128 rows x 64, 128 or 256 tokens, and, where the product is added to the
 * residual stream, parts of K, so that short prompts keep the whole card busy.
 *
 * The measure was fitted to an H100: a tile step of 128 k takes a time in proportion to its tokens + 73 (the 256-token
 * tile runs at 1.6 times the rate of the 64-token one), a tile costs about four steps more to start and to write out,
 * and cutting costs the writing and reading of the parts.
 */
import type { FusedMatrix } from './encoder_weights';

/** Tokens to which a prompt is padded: the largest tile. */
const TOKEN_PAD = 256;
/** Padded tokens times parts of K that the work space has room for; longer prompts fill the card without cuts. */
export const PART_TOKENS = 2048;
const SPLITS = [1, 2, 3, 4, 6, 8] as const;
/** A part has at least this many steps of 128 k. */
const MIN_STEPS = 2;
const TOKENS_OVERHEAD = 73;
const STEPS_OVERHEAD = 4;
/** Bytes of parts written and read in the time of one token and step. */
const BYTES_PER_COST = 13_000;

export interface Tiling {
  readonly tokens: number;
  readonly split: number;
}

export function padTokens(tokens: number): number {
  return Math.ceil(tokens / TOKEN_PAD) * TOKEN_PAD;
}

/** Tokens a tile for which there are kernels. */
export function tileSizes(hopper: boolean): readonly number[] {
  return hopper ? [64, 128, 256] : [64, 128];
}

/**
 * The cheapest way to multiply `matrix` with `tokens` tokens. `slots`: tiles that run at once (multiprocessors; on Hopper
 * pairs of them, a tile then being two of 128 rows). `cut`: whether K may be cut.
 */
export function tiling(
  matrix: FusedMatrix,
  tokens: number,
  hopper: boolean,
  multiprocessors: number,
  cut: boolean,
): Tiling {
  const slots = hopper ? Math.floor(multiprocessors / 2) : multiprocessors;
  const rowTiles = hopper ? Math.ceil(matrix.rowTiles / 2) : matrix.rowTiles;
  let best: Tiling = { tokens: 64, split: 1 };
  let least = Number.POSITIVE_INFINITY;
  for (const size of tileSizes(hopper)) {
    for (const split of SPLITS) {
      const room = split * MIN_STEPS <= matrix.kUnits && split * padTokens(tokens) <= PART_TOKENS;
      if (split > 1 && !(cut && room)) continue;
      const waves = Math.ceil((rowTiles * Math.ceil(tokens / size) * split) / slots);
      const steps = Math.ceil(matrix.kUnits / split) + STEPS_OVERHEAD;
      const parts = split > 1 ? (split * tokens * matrix.rowTiles * 128 * 8) / BYTES_PER_COST : 0;
      const cost = waves * steps * (size + TOKENS_OVERHEAD) + parts;
      if (cost < least * 0.999) {
        least = cost;
        best = { tokens: size, split };
      }
    }
  }
  return best;
}
