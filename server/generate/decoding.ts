/** What a request may ask of the decoder, checked and completed once, before any work starts. */
import { UsageError } from '../errors';
import type { Decoding } from '../protocol';

/** Long enough for a paragraph of explanation; the library default of 20 cuts nearly every answer. */
export const DEFAULT_MAX_NEW_TOKENS = 512;
/** Beyond this a decoder's cache for one row is larger than any answer these models were trained to write. */
export const MAX_NEW_TOKENS = 8192;
/** Every beam is a row of cache; wider beams than this make T5 answers shorter and worse, not better. */
export const MAX_BEAMS = 16;

export type ResolvedDecoding =
  | { readonly kind: 'greedy'; readonly maxNewTokens: number }
  | { readonly kind: 'beam'; readonly maxNewTokens: number; readonly beams: number }
  | {
      readonly kind: 'sample';
      readonly maxNewTokens: number;
      readonly temperature: number;
      readonly topP: number;
      readonly topK: number;
      readonly seed: number;
    };

/**
 * Greedy unless the request says otherwise. A temperature above 0, a top-p below 1 or a top-k above 0 means sampling
 * (temperature 1 when only a filter is given); temperature 0 means greedy whatever the filters are.
 * `freshSeed` is asked only when sampling has no seed, and the seed that was used is part of the result.
 * @throws UsageError for a value out of its range, or beams and sampling together.
 */
export function resolveDecoding(decoding: Decoding, freshSeed: () => number = randomSeed): ResolvedDecoding {
  const maxNewTokens = whole('max-new-tokens', decoding.maxNewTokens ?? DEFAULT_MAX_NEW_TOKENS, 1, MAX_NEW_TOKENS);
  const beams = whole('beams', decoding.beams ?? 1, 1, MAX_BEAMS);
  const topK = whole('top-k', decoding.topK ?? 0, 0, Number.MAX_SAFE_INTEGER);
  const topP = decoding.topP ?? 1;
  if (!(topP > 0 && topP <= 1)) throw new UsageError(`top-p is ${topP}; give a number above 0 and at most 1.`);
  const filtered = topP < 1 || topK > 0;
  const temperature = decoding.temperature ?? (filtered ? 1 : 0);
  if (!(temperature >= 0 && temperature <= 100)) {
    throw new UsageError(`temperature is ${temperature}; give a number from 0 (greedy) to 100.`);
  }
  const seed = decoding.seed === undefined ? undefined : whole('seed', decoding.seed, 0, Number.MAX_SAFE_INTEGER);
  if (temperature === 0) {
    return beams === 1 ? { kind: 'greedy', maxNewTokens } : { kind: 'beam', maxNewTokens, beams };
  }
  if (beams > 1) {
    throw new UsageError(
      'Beams and sampling exclude each other: drop the beams, or drop temperature, top-p and top-k.',
    );
  }
  return { kind: 'sample', maxNewTokens, temperature, topP, topK, seed: seed ?? freshSeed() };
}

function whole(name: string, value: number, least: number, most: number): number {
  if (Number.isInteger(value) && value >= least && value <= most) return value;
  const range = most === Number.MAX_SAFE_INTEGER ? `of at least ${least}` : `from ${least} to ${most}`;
  throw new UsageError(`${name} is ${value}; give a whole number ${range}.`);
}

function randomSeed(): number {
  return Math.floor(Math.random() * 2 ** 32);
}
