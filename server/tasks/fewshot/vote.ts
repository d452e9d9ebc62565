/** Self-consistency: several samples reason for themselves, and the final answer of most of them is the answer. */
import { type Sample, sampleRows } from '../../generate/rows';
import { finalAnswer, sameAnswer } from '../../prompts/check';
import { DEFAULT_ANSWER_TOKENS, DEFAULT_VOTE_SEED, DEFAULT_VOTE_TEMPERATURE } from '../../prompts/set';
import { endlessRepetition } from '../repetition';
import type { Made, Making } from './answer';

interface Candidate {
  readonly answer: string;
  count: number;
  /** Of the first sample that came to it. */
  readonly text: string;
  readonly sample: Sample;
}

/** @throws CancelledError when stopped */
export async function voteFor({ model, memory, fitted, set, hooks }: Making): Promise<Made> {
  const start = performance.now();
  const {
    votes = 1,
    temperature = DEFAULT_VOTE_TEMPERATURE,
    seed = DEFAULT_VOTE_SEED,
    maxNewTokens = DEFAULT_ANSWER_TOKENS,
  } = set.generation ?? {};
  const samples = await sampleRows(
    model.engine,
    memory,
    votes,
    { temperature, seed, maxNewTokens },
    {
      signal: hooks.signal,
      guard: model.profile.guardsRepetition ? endlessRepetition : undefined,
      onFinished: (finished) => hooks.onProgress?.({ kind: 'voting', finished, of: votes }),
    },
  );
  const textOf = (sample: Sample) => fitted.plan.restore(model.codec.decode(sample.ids)).trim();
  const candidates = count(samples, textOf);
  const winner = candidates[0];
  const ms = performance.now() - start;
  const { ids = [], logprob = 0, finishReason = 'stop' } = winner?.sample ?? {};
  return {
    text: winner?.answer ?? '',
    ids,
    logprob,
    tokens: ids.length,
    finishReason: finishReason === 'stop' ? 'stop' : 'length',
    ...(finishReason === 'guard' ? { repeated: true } : {}),
    votes: candidates.map(({ answer, count: of }) => ({ answer, count: of })),
    sample: winner?.text ?? '',
    firstTokenMs: ms,
    msPerToken: ids.length === 0 ? 0 : ms / ids.length,
  };
}

/** Final answers, most frequent first. A sample that was cut off has come to none, unless all were. */
export function count(samples: readonly Sample[], textOf: (sample: Sample) => string): Candidate[] {
  const whole = samples.filter((sample) => sample.finishReason === 'stop');
  const candidates: Candidate[] = [];
  for (const sample of whole.length > 0 ? whole : samples) {
    const text = textOf(sample);
    const known = candidates.find(({ text: other }) => sameAnswer(other, text));
    if (known === undefined) candidates.push({ answer: finalAnswer(text), count: 1, text, sample });
    else known.count++;
  }
  return candidates.sort((a, b) => b.count - a.count);
}
