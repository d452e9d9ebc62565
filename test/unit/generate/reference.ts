/** Generation by its definitions, without an engine, a cache or a stopping heuristic: what the loop is compared with. */
import { EOS, logSoftmax, START, type Table } from './table-engine';

export interface Answer {
  readonly ids: readonly number[];
  readonly logprob: number;
}

export function greedyByDefinition(table: Table, prompt: readonly number[], limit: number): Answer {
  const ids: number[] = [];
  let logprob = 0;
  while (ids.length < limit && ids.at(-1) !== EOS) {
    const all = logSoftmax(table(prompt, [START, ...ids]));
    let best = 0;
    for (const [id, value] of all.entries()) if (value > (all[best] ?? 0)) best = id;
    ids.push(best);
    logprob += all[best] ?? 0;
  }
  return { ids, logprob };
}

/** The best of all answers of at most `limit` tokens, by log-probability per token. */
export function bestOfAll(table: Table, prompt: readonly number[], vocabSize: number, limit: number): Answer {
  let best: Answer = { ids: [], logprob: Number.NEGATIVE_INFINITY };
  const visit = (ids: readonly number[], logprob: number) => {
    if (ids.at(-1) === EOS || ids.length === limit) {
      if (best.ids.length === 0 || logprob / ids.length > best.logprob / best.ids.length) best = { ids, logprob };
      return;
    }
    const all = logSoftmax(table(prompt, [START, ...ids]));
    for (let id = 0; id < vocabSize; id++) visit([...ids, id], logprob + (all[id] ?? 0));
  };
  visit([], 0);
  return best;
}

/**
 * Beam search written the way transformers' vectorised `_beam_search` is: fixed arrays of K running and K finished
 * sequences, masks of -1e9, and the early-stop heuristic, with length_penalty 1.0 and early_stopping False.
 */
export function maskedBeamSearch(table: Table, prompt: readonly number[], beams: number, limit: number): Answer {
  const MASK = -1e9;
  interface Slot {
    ids: number[];
    score: number;
    raw: number;
    done: boolean;
  }
  let running: Slot[] = Array.from({ length: beams }, (_, i) => ({
    ids: [],
    score: i === 0 ? 0 : MASK,
    raw: 0,
    done: false,
  }));
  let finished: Slot[] = Array.from({ length: beams }, () => ({ ids: [], score: MASK, raw: 0, done: false }));
  const topK = (slots: readonly Slot[], k: number, key: (s: Slot) => number) =>
    [...slots.entries()]
      .sort(([i, a], [j, b]) => key(b) - key(a) || i - j)
      .slice(0, k)
      .map(([, s]) => s);
  for (let length = 1; ; length++) {
    const all = running.flatMap((r) =>
      [...Float32Array.from(logSoftmax(table(prompt, [START, ...r.ids])))].map((logprob, id): Slot => {
        const score = Math.fround(r.score + logprob);
        return { ids: [...r.ids, id], score, raw: score, done: false };
      }),
    );
    const best = topK(all, 2 * beams, (s) => s.score).map((s) => ({
      ...s,
      done: s.ids.at(-1) === EOS || length === limit,
    }));
    running = topK(best, beams, (s) => s.score + (s.done ? MASK : 0));
    const ended = best.map((s, rank) => {
      const counts = s.done && rank < beams;
      return { ...s, done: counts, score: Math.fround(s.score / length) + (counts ? 0 : MASK) };
    });
    finished = topK([...finished, ...ended], beams, (s) => s.score);
    const possible = Math.fround((running[0]?.score ?? MASK) / length);
    const least = Math.min(...finished.map((s) => s.score));
    const improvable = finished.some((s) => possible > (s.done ? least : MASK));
    if (!improvable || best.every((s) => s.done)) break;
  }
  const first = finished[0];
  return { ids: first?.ids ?? [], logprob: first?.raw ?? 0 };
}
