/**
 * Beam search that returns what transformers' `generate(num_beams=K)` returns with its defaults: length_penalty 1.0,
 * early_stopping False, one returned sequence. Per step, the best 2K continuations of all beams are looked at: those
 * among the first K that end become finished answers (score / tokens, the end token counted), and the best K that do
 * not end go on. It stops when K answers are finished and no running beam can beat the worst of them at its present
 * length, or at the limit, where the running beams count as finished.
 *
 * Scores are rounded to float32 after every sum, as the reference keeps them.
 */
import type { DecodeContext, Decoded } from './generate';

interface Running {
  readonly ids: readonly number[];
  /** Sum of log-probabilities. */
  readonly score: number;
}

interface Candidate {
  readonly parent: number;
  readonly token: number;
  readonly score: number;
}

interface Finished {
  readonly ids: readonly number[];
  readonly logprob: number;
  /** `logprob` per token: the length penalty of 1. */
  readonly score: number;
}

/** @param beams rows of the decoder, K; @param maxNewTokens limit of every beam, end token included. */
export async function beamSearch(context: DecodeContext, beams: number, maxNewTokens: number): Promise<Decoded> {
  const { engine, memory, signal, emit, guard } = context;
  const { decoderStartId, eosId } = engine.config;
  let steps = 0;
  let running: Running[] = [{ ids: [], score: 0 }];
  let finished: Finished[] = [];
  const result = (reason: 'stop' | 'length' | 'cancelled' | 'guard'): Decoded => {
    // A cancelled search may hold nothing finished yet: the best running beam is the text so far.
    const best: { readonly ids: readonly number[]; readonly logprob: number } | undefined =
      finished[0] ?? running.map((r) => ({ ids: r.ids, logprob: r.score }))[0];
    const ids = [...(best?.ids ?? [])];
    const ended = ids.at(-1) === eosId;
    if (ids.length > 0) emit(ids);
    return { ids, finishReason: reason === 'length' && ended ? 'stop' : reason, logprob: best?.logprob ?? 0, steps };
  };

  if (signal.stopped) return result('cancelled');
  const decoder = await engine.decoder(memory, beams, maxNewTokens);
  try {
    let tokens = new Int32Array(beams).fill(decoderStartId);
    for (let length = 1; ; length++) {
      if (signal.stopped) return result('cancelled');
      const picked = await decoder.step(tokens, 1, { kind: 'top', count: 2 * beams });
      steps++;
      const candidates = bestContinuations(running, picked, picked.ids.length / beams).slice(0, 2 * beams);
      const atLimit = length === maxNewTokens;
      const next: { candidate: Candidate; ids: number[] }[] = [];
      for (const [rank, candidate] of candidates.entries()) {
        const ids = [...(running[candidate.parent]?.ids ?? []), candidate.token];
        const ends = candidate.token === eosId || atLimit;
        if (ends && rank < beams) {
          finished.push({ ids, logprob: candidate.score, score: Math.fround(candidate.score / length) });
        } else if (!ends && next.length < beams) {
          next.push({ candidate, ids });
        }
      }
      // A stable sort: of equal scores the earlier finished stays ahead, as it does in the reference.
      finished = finished.sort((a, b) => b.score - a.score).slice(0, beams);
      if (atLimit || next.length === 0) return result('length');
      running = next.map(({ candidate, ids }) => ({ ids, score: candidate.score }));
      const bestPossible = Math.fround((running[0]?.score ?? Number.NEGATIVE_INFINITY) / length);
      if (finished.length === beams && bestPossible <= (finished[beams - 1]?.score ?? 0)) return result('stop');
      if (guard && running.every((r) => guard(r.ids))) return result('guard');
      // With a tiny vocabulary fewer than K beams may be alive: the spare rows repeat the last one and are not read.
      const rows = Array.from({ length: beams }, (_, i) => next[Math.min(i, next.length - 1)]);
      await decoder.reorder(Int32Array.from(rows, (row) => row?.candidate.parent ?? 0));
      tokens = Int32Array.from(rows, (row) => row?.candidate.token ?? eosId);
    }
  } finally {
    decoder.dispose();
  }
}

/** All running beams' best tokens (`perRow` of each), best first; of equal scores the lower beam, then the better rank. */
function bestContinuations(
  running: readonly Running[],
  picked: { readonly ids: Int32Array; readonly logprobs: Float32Array },
  perRow: number,
): Candidate[] {
  const all: Candidate[] = [];
  for (const [parent, { score }] of running.entries()) {
    for (let i = parent * perRow; i < (parent + 1) * perRow; i++) {
      const token = picked.ids[i];
      const logprob = picked.logprobs[i];
      if (token === undefined || logprob === undefined || !(logprob > Number.NEGATIVE_INFINITY)) continue;
      all.push({ parent, token, score: Math.fround(score + logprob) });
    }
  }
  return all.sort((a, b) => b.score - a.score);
}
