/**
 * Several answers over one memory at once, a row each: samples to vote over, and given answers to compare. A step reads
 * the weights once for all rows, so a few rows cost hardly more than one.
 */
import type { Engine, Memory, StopSignal } from '../engine/engine';
import { CancelledError } from '../errors';
import type { Guard } from './generate';
import { uniform } from './random';

/** Rows at a time. More rows make a step slower about as much as they save steps. */
const MOST_ROWS = 16;
/** Tokens of all rows at a time: what Flan-UL2 keeps of so many takes about a gigabyte in 16 bits. */
const MOST_CACHED = 2048;
/** Positions at a time where whole logits are computed: 256 of 32,128 floats are 33 MB. */
const MOST_POSITIONS = 256;

export interface Sampling {
  readonly temperature: number;
  /** Row i draws with `seed + i`, as one answer with that seed alone does. */
  readonly seed: number;
  readonly maxNewTokens: number;
}

export interface Sample {
  /** With the end token if it came. */
  readonly ids: readonly number[];
  readonly finishReason: 'stop' | 'length' | 'guard';
  /** Natural, temperature 1. */
  readonly logprob: number;
}

export interface SampleOptions {
  readonly signal?: StopSignal | undefined;
  readonly guard?: Guard | undefined;
  /** Called when further samples have come to their end, with the number of all that have. */
  readonly onFinished?: ((finished: number) => void) | undefined;
}

/**
 * `count` independent samples of answers to one prompt, in the order of their seeds.
 * @throws CancelledError when stopped: an election with some of the votes is none
 */
export async function sampleRows(
  engine: Engine,
  memory: Memory,
  count: number,
  sampling: Sampling,
  options: SampleOptions = {},
): Promise<Sample[]> {
  const samples: Sample[] = [];
  const most = Math.max(1, Math.min(MOST_ROWS, Math.floor(MOST_CACHED / sampling.maxNewTokens)));
  for (let first = 0; first < count; first += most) {
    const rows = Math.min(most, count - first);
    const group = { ...sampling, seed: sampling.seed + first };
    const finished = (inside: number) => options.onFinished?.(first + inside);
    samples.push(...(await sampleGroup(engine, memory, rows, group, { ...options, onFinished: finished })));
  }
  return samples;
}

async function sampleGroup(
  engine: Engine,
  memory: Memory,
  rows: number,
  { temperature, seed, maxNewTokens }: Sampling,
  { signal, guard, onFinished }: SampleOptions,
): Promise<Sample[]> {
  const { decoderStartId, eosId } = engine.config;
  const ids = Array.from({ length: rows }, (): number[] => []);
  const logprobs = new Float64Array(rows);
  const reasons = new Array<Sample['finishReason'] | undefined>(rows).fill(undefined);
  if (signal?.stopped) throw new CancelledError();
  const decoder = await engine.decoder(memory, rows, maxNewTokens);
  try {
    let tokens = new Int32Array(rows).fill(decoderStartId);
    let running = rows;
    for (let at = 0; at < maxNewTokens && running > 0; at++) {
      if (signal?.stopped) throw new CancelledError();
      const uniforms = Float64Array.from({ length: rows }, (_, row) => uniform(seed + row, at));
      const picked = await decoder.step(tokens, 1, { kind: 'sample', temperature, topK: 0, topP: 1, uniforms });
      // A row that has ended goes on with end tokens, which nobody reads.
      tokens = new Int32Array(rows).fill(eosId);
      for (const [row, written] of ids.entries()) {
        if (reasons[row] !== undefined) continue;
        const id = picked.ids[row] ?? eosId;
        written.push(id);
        tokens[row] = id;
        logprobs[row] = (logprobs[row] ?? 0) + (picked.logprobs[row] ?? 0);
        reasons[row] = id === eosId ? 'stop' : guard?.(written) ? 'guard' : undefined;
      }
      const left = reasons.filter((reason) => reason === undefined).length;
      if (left < running) onFinished?.(rows - left);
      running = left;
    }
    // At the limit they have come to an end, too.
    if (running > 0) onFinished?.(rows);
  } finally {
    decoder.dispose();
  }
  return ids.map((written, row) => ({
    ids: written,
    finishReason: reasons[row] ?? 'length',
    logprob: logprobs[row] ?? 0,
  }));
}

/**
 * Log-probabilities of given answers to one prompt, [answers] in their order.
 * @param answers token ids; the end token as the last one counts
 * @throws CancelledError when stopped
 */
export async function scoreRows(
  engine: Engine,
  memory: Memory,
  answers: readonly (readonly number[])[],
  signal?: StopSignal,
): Promise<number[]> {
  const { decoderStartId, eosId } = engine.config;
  const scores: number[] = [];
  for (let first = 0; first < answers.length; ) {
    if (signal?.stopped) throw new CancelledError();
    const length = Math.max(...answers.slice(first, first + MOST_ROWS).map((ids) => ids.length));
    const rows = Math.max(1, Math.min(MOST_ROWS, Math.floor(MOST_POSITIONS / length)));
    const group = answers.slice(first, first + rows);
    first += group.length;
    // Shorter answers are filled up behind their end, where nothing before can see it.
    const targets = new Int32Array(group.length * length).fill(eosId);
    const fed = new Int32Array(group.length * length).fill(eosId);
    for (const [row, ids] of group.entries()) {
      targets.set(ids, row * length);
      fed.set([decoderStartId, ...ids.slice(0, -1)], row * length);
    }
    const decoder = await engine.decoder(memory, group.length, length);
    try {
      const { logprobs } = await decoder.step(fed, length, { kind: 'score', targets });
      for (const [row, ids] of group.entries()) {
        let sum = 0;
        for (const value of logprobs.subarray(row * length, row * length + ids.length)) sum += value;
        scores.push(sum);
      }
    } finally {
      decoder.dispose();
    }
  }
  return scores;
}
