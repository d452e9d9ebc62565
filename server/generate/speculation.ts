/**
 * Prompt-lookup speculation for greedy decoding. Answers about a text repeat parts of it, so what followed the last few
 * tokens where they stood before (in the source or in the answer so far) is drafted and checked in one step of several
 * tokens. Only tokens that greedy choice would have taken are kept: the result is the one without drafts, id for id, as
 * long as the engine computes a position alike whether it is fed alone or with others. One that rounds differently then
 * may take the other of two tokens that are all but tied.
 * It pays where a step of several tokens costs about as much as a step of one: where reading the weights is the cost. On a
 * CPU with the starter model it does not (2 tokens: 1.6 times one, 4 tokens: 3 times), so it is off unless asked for.
 */
import type { DecodeContext, Decoded } from './generate';

/** A match of two tokens already predicts well enough; one token (a comma, an article) does not. */
const MIN_MATCH = 2;
/** The first draft is short; right ones double the next, wrong ones halve it: a wrong draft costs what it computed. */
const FIRST_DRAFT = 2;
/** Longer contexts are found through the chain of two-token matches; beyond this more context no longer decides. */
const MAX_MATCH = 8;

/** Where every pair of neighbouring tokens stood before; finds the place whose past agrees longest with the present. */
export class LookupIndex {
  readonly #tokens: number[] = [];
  /** Key of a pair → ends of its occurrences (index of the token after the pair), oldest first. */
  readonly #ends = new Map<number, number[]>();
  readonly #vocabSize: number;

  constructor(vocabSize: number) {
    this.#vocabSize = vocabSize;
  }

  push(token: number): void {
    this.#tokens.push(token);
    const key = this.#key(this.#tokens.length);
    if (key === undefined) return;
    const ends = this.#ends.get(key);
    if (ends) ends.push(this.#tokens.length);
    else this.#ends.set(key, [this.#tokens.length]);
  }

  /** Up to `count` tokens that followed the longest earlier match of the last tokens; of equal matches the latest. */
  propose(count: number): number[] {
    const n = this.#tokens.length;
    const key = this.#key(n);
    if (key === undefined || count < 1) return [];
    let best = -1;
    let bestLength = MIN_MATCH - 1;
    const ends = this.#ends.get(key) ?? [];
    for (let i = ends.length - 1; i >= 0 && bestLength < MAX_MATCH; i--) {
      const end = ends[i] ?? n;
      if (end === n) continue;
      const length = this.#agreement(end, n);
      if (length > bestLength) {
        best = end;
        bestLength = length;
      }
    }
    return best < 0 ? [] : this.#tokens.slice(best, best + count);
  }

  /** Number of equal tokens before positions `a` and `b`, at most MAX_MATCH. */
  #agreement(a: number, b: number): number {
    let length = 0;
    while (length < MAX_MATCH && length < a && this.#tokens[a - 1 - length] === this.#tokens[b - 1 - length]) length++;
    return length;
  }

  #key(end: number): number | undefined {
    const a = this.#tokens[end - 2];
    const b = this.#tokens[end - 1];
    return a === undefined || b === undefined ? undefined : a * this.#vocabSize + b;
  }
}

/** Greedy decoding with drafts of up to `draft` tokens; the same ids, finish reason and log-probability as without. */
export async function speculate(context: DecodeContext, maxNewTokens: number, draft: number): Promise<Decoded> {
  const { engine, memory, promptIds, signal, emit, guard } = context;
  const { decoderStartId, eosId, vocabSize } = engine.config;
  const ids: number[] = [];
  let logprob = 0;
  let steps = 0;
  const finish = (finishReason: Decoded['finishReason']): Decoded => ({ ids, finishReason, logprob, steps });
  if (signal.stopped) return finish('cancelled');

  const index = new LookupIndex(vocabSize);
  for (const id of promptIds) if (id !== eosId) index.push(id);
  // A pair must not reach from the end of the source into the answer.
  index.push(decoderStartId);
  const decoder = await engine.decoder(memory, 1, maxNewTokens);
  try {
    let token = decoderStartId;
    let most = Math.min(draft, FIRST_DRAFT);
    while (ids.length < maxNewTokens) {
      if (signal.stopped) return finish('cancelled');
      // The step itself yields one token more than the draft, and the cache holds `maxNewTokens`.
      const drafted = index.propose(Math.min(most, maxNewTokens - ids.length - 1));
      const fed = Int32Array.of(token, ...drafted);
      const kept = decoder.length;
      const picked = await decoder.step(fed, fed.length, { kind: 'argmax' });
      steps++;
      const accepted: number[] = [];
      let reason: 'stop' | 'guard' | undefined;
      for (let i = 0; i < fed.length && reason === undefined; i++) {
        token = picked.ids[i] ?? eosId;
        accepted.push(token);
        ids.push(token);
        index.push(token);
        logprob += picked.logprobs[i] ?? 0;
        if (token === eosId) reason = 'stop';
        else if (guard?.(ids)) reason = 'guard';
        if (token !== drafted[i]) break;
      }
      emit(accepted);
      if (drafted.length > 0)
        most = accepted.length === fed.length ? Math.min(2 * most, draft) : Math.max(most >> 1, 1);
      if (reason) return finish(reason);
      if (accepted.length < fed.length) await decoder.truncate(kept + accepted.length);
    }
    return finish('length');
  } finally {
    decoder.dispose();
  }
}
