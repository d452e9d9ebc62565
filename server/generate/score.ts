/** The log-probability of a given answer: one encoder pass and one decoder pass over all its tokens. */
import type { Engine, Memory, StopSignal } from '../engine/engine';
import { CancelledError } from '../errors';

export interface Scored {
  /** Of every answer token, natural logarithm, in the order given. */
  readonly logprobs: Float32Array;
  /** Their sum: log p(answer | prompt). */
  readonly logprob: number;
  readonly timings: { readonly encodeMs: number; readonly firstTokenMs: number; readonly msPerToken: number };
}

/**
 * Forced scoring: token i of the answer is predicted from the prompt and the answer's tokens before i.
 * @param promptIds source tokens, end token included
 * @param answerIds answer tokens; pass the end token as the last one for it to count
 * @throws CancelledError when stopped: half a score is none
 */
export async function scoreAnswer(
  engine: Engine,
  promptIds: readonly number[],
  answerIds: readonly number[],
  signal?: StopSignal,
): Promise<Scored> {
  if (signal?.stopped) throw new CancelledError();
  const start = performance.now();
  const memory = await engine.encode(Int32Array.from(promptIds), signal);
  const encoded = performance.now();
  try {
    if (signal?.stopped) throw new CancelledError();
    const logprobs = await scoreFrom(engine, memory, answerIds);
    const end = performance.now();
    let logprob = 0;
    for (const value of logprobs) logprob += value;
    return {
      logprobs,
      logprob,
      timings: {
        encodeMs: encoded - start,
        firstTokenMs: end - start,
        msPerToken: answerIds.length > 0 ? (end - encoded) / answerIds.length : 0,
      },
    };
  } finally {
    memory.dispose();
  }
}

/** As `scoreAnswer`, over a memory kept by the caller. Returns [answerIds.length] log-probabilities. */
export async function scoreFrom(engine: Engine, memory: Memory, answerIds: readonly number[]): Promise<Float32Array> {
  if (answerIds.length === 0) return new Float32Array(0);
  const decoder = await engine.decoder(memory, 1, answerIds.length);
  try {
    const fed = Int32Array.from([engine.config.decoderStartId, ...answerIds.slice(0, -1)]);
    const picked = await decoder.step(fed, fed.length, { kind: 'score', targets: Int32Array.from(answerIds) });
    return picked.logprobs;
  } finally {
    decoder.dispose();
  }
}
