/**
 * Choosing tokens from logits on the host: pure functions over float32 logits [positions, vocabSize].
 *
 * Log-probabilities are of the unmodified logits, whatever was used to choose. Equal logits: the lower id first.
 */
import { FlanError } from '../errors';
import type { Pick, Picked } from './engine';

/** A model that answers with NaN or infinity: a damaged file or a device that computes wrongly. */
export class NotFiniteError extends FlanError {
  constructor() {
    super(
      'not-finite',
      'The model computed values that are not numbers. Convert or download it again, or try another engine.',
    );
  }
}

/** Applies `pick` to each of the `logits.length / vocabSize` positions. */
export function pickFrom(logits: Float32Array, vocabSize: number, pick: Pick): Picked {
  const positions = logits.length / vocabSize;
  if (!Number.isInteger(positions)) throw new RangeError(`${logits.length} logits are not rows of ${vocabSize}.`);
  const rows = Array.from({ length: positions }, (_, i) => logits.subarray(i * vocabSize, (i + 1) * vocabSize));
  switch (pick.kind) {
    case 'logits':
      return { ids: new Int32Array(0), logprobs: new Float32Array(0), logits };
    case 'argmax': {
      const ids = Int32Array.from(rows, argmax);
      return { ids, logprobs: logprobsOf(rows, ids, 1) };
    }
    case 'score': {
      if (pick.targets.length !== positions)
        throw new RangeError(`${pick.targets.length} targets for ${positions} positions.`);
      for (const id of pick.targets)
        if (id < 0 || id >= vocabSize) throw new RangeError(`No token ${id} in ${vocabSize}.`);
      return { ids: new Int32Array(0), logprobs: logprobsOf(rows, pick.targets, 1) };
    }
    case 'top': {
      const count = Math.min(pick.count, vocabSize);
      const ids = new Int32Array(positions * count);
      for (const [i, row] of rows.entries()) ids.set(top(row, count), i * count);
      return { ids, logprobs: logprobsOf(rows, ids, count) };
    }
    case 'sample': {
      if (pick.uniforms.length !== positions)
        throw new RangeError(`${pick.uniforms.length} draws for ${positions} positions.`);
      const ids = Int32Array.from(rows, (row, i) =>
        sample(row, pick.temperature, pick.topK, pick.topP, pick.uniforms[i] ?? 0),
      );
      return { ids, logprobs: logprobsOf(rows, ids, 1) };
    }
  }
}

/** The id of the largest logit. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let from = 0; from < logits.length; from += CHUNK) {
    const id = argmaxOf(logits, from, Math.min(from + CHUNK, logits.length));
    if ((logits[id] as number) > (logits[best] as number)) best = id;
  }
  return best;
}

function argmaxOf(logits: Float32Array, from: number, to: number): number {
  let best = from;
  let value = Number.NEGATIVE_INFINITY;
  for (let i = from; i < to; i++) {
    const logit = logits[i] as number;
    if (logit > value) {
      value = logit;
      best = i;
    }
  }
  return best;
}

/** log(sum(exp(logits))). Throws `NotFiniteError` when that is not a number. */
export function logSumExp(logits: Float32Array): number {
  const max = logits[argmax(logits)] ?? Number.NaN;
  let sum = 0;
  for (let from = 0; from < logits.length; from += CHUNK) {
    sum += sumExp(logits, from, Math.min(from + CHUNK, logits.length), max);
  }
  const result = max + Math.log(sum);
  if (!Number.isFinite(result)) throw new NotFiniteError();
  return result;
}

/**
 * The sum of exp(logit - max) over a part of the logits. A function of its own, called many times for one row, so that
 * V8 compiles it as a whole: compiled from inside one long loop it falls back to the interpreter at the end of each row.
 *
 * exp(-d) = 2^-(w / STEPS) * e^r with a whole w and 0 <= r <= ln 2 / STEPS: two tables and a short series, exact to 1e-16
 * and three times as fast as Math.exp, which would take a good part of a small model's step.
 */
function sumExp(logits: Float32Array, from: number, to: number, max: number): number {
  let sum = 0;
  for (let i = from; i < to; i++) {
    const distance = max - (logits[i] as number);
    if (distance > FARTHEST) continue;
    const scaled = distance * STEPS_PER_NAT;
    const w = (scaled | 0) + 1;
    const r = (w - scaled) * NATS_PER_STEP;
    const power = (WHOLE[w >> STEP_BITS] as number) * (FRACTION[w & (STEPS - 1)] as number);
    sum += power * (1 + r * (1 + r * (0.5 + r * (SIXTH + r / 24))));
  }
  return sum;
}

const CHUNK = 1024;
const SIXTH = 1 / 6;
const STEP_BITS = 9;
const STEPS = 1 << STEP_BITS;
const STEPS_PER_NAT = STEPS / Math.LN2;
const NATS_PER_STEP = Math.LN2 / STEPS;
/** exp(-60) of the largest term: a million of them are below the last bit of the sum. */
const FARTHEST = 60;
const WHOLE = Float64Array.from({ length: Math.ceil(FARTHEST / Math.LN2) + 2 }, (_, i) => 2 ** -i);
const FRACTION = Float64Array.from({ length: STEPS }, (_, i) => 2 ** (-i / STEPS));

/** The ids of the `count` largest logits, largest first. */
export function top(logits: Float32Array, count: number): Int32Array {
  const ids = new Int32Array(count);
  const values = new Float32Array(count).fill(Number.NEGATIVE_INFINITY);
  let size = 0;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i] as number;
    if (size === count && logit <= (values[count - 1] as number)) continue;
    let at = size < count ? size++ : count - 1;
    for (; at > 0 && logit > (values[at - 1] as number); at--) {
      values[at] = values[at - 1] as number;
      ids[at] = ids[at - 1] as number;
    }
    values[at] = logit;
    ids[at] = i;
  }
  return ids;
}

/**
 * One draw, as transformers orders its filters: temperature, then the `topK` largest (all that equal the last of them
 * stay), then the smallest set of the most probable whose probabilities reach `topP`. `topK` 0 and `topP` 1 are off.
 * The token is the first, in the order of ids, at which the summed probability of what is left exceeds `uniform`.
 */
export function sample(logits: Float32Array, temperature: number, topK: number, topP: number, uniform: number): number {
  if (!(temperature > 0)) throw new RangeError('A temperature for sampling must be above 0.');
  const max = logits[argmax(logits)] as number;
  let floor = Number.NEGATIVE_INFINITY;
  if (topK > 0 && topK < logits.length) {
    const best = top(logits, topK);
    floor = logits[best[topK - 1] as number] as number;
  }
  const weights = new Float64Array(logits.length);
  let total = 0;
  for (let i = 0; i < logits.length; i++) {
    const logit = logits[i] as number;
    if (logit < floor) continue;
    const weight = Math.exp((logit - max) / temperature);
    weights[i] = weight;
    total += weight;
  }
  if (!Number.isFinite(total) || total === 0) throw new NotFiniteError();
  if (topP < 1) total = keepNucleus(weights, topP, total);

  const target = uniform * total;
  let sum = 0;
  let last = 0;
  for (let i = 0; i < weights.length; i++) {
    const weight = weights[i] as number;
    if (weight === 0) continue;
    sum += weight;
    last = i;
    if (sum > target) return i;
  }
  return last;
}

/** Sets to 0 every weight that is not among the most probable that reach `topP` of `total`; returns the sum of the rest. */
function keepNucleus(weights: Float64Array, topP: number, total: number): number {
  const goal = topP * total;
  // Sorting a whole vocabulary for every token is slow, and the nucleus is nearly always a few large weights (the
  // largest is 1): look among those first, and among smaller ones only when their sum does not reach the goal.
  let candidates: number[] = [];
  for (const least of [1e-2, 1e-5, 0]) {
    candidates = [];
    let sum = 0;
    for (let i = 0; i < weights.length; i++) {
      const weight = weights[i] as number;
      if (weight > least) {
        candidates.push(i);
        sum += weight;
      }
    }
    if (sum >= goal) break;
  }
  candidates.sort((a, b) => (weights[b] as number) - (weights[a] as number) || a - b);
  const kept = new Float64Array(weights.length);
  let sum = 0;
  for (const id of candidates) {
    const weight = weights[id] as number;
    kept[id] = weight;
    sum += weight;
    if (sum >= goal) break;
  }
  weights.set(kept);
  return sum;
}

/** Log-probabilities of `ids` [rows * perRow]. */
function logprobsOf(rows: readonly Float32Array[], ids: Int32Array, perRow: number): Float32Array {
  const logprobs = new Float32Array(ids.length);
  rows.forEach((row, r) => {
    const total = logSumExp(row);
    for (let i = r * perRow; i < (r + 1) * perRow; i++) logprobs[i] = (row[ids[i] as number] as number) - total;
  });
  return logprobs;
}
