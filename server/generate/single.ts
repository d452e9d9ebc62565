/** Greedy choice and sampling: one row, one token a step. */
import type { Pick } from '../engine/engine';
import type { ResolvedDecoding } from './decoding';
import type { DecodeContext, Decoded } from './generate';
import { uniform } from './random';

/** Writes token by token; a token's draw depends on the seed and the token's index alone. */
export async function singleRow(
  context: DecodeContext,
  decoding: Exclude<ResolvedDecoding, { kind: 'beam' }>,
): Promise<Decoded> {
  const { engine, memory, signal, emit, guard } = context;
  const { decoderStartId, eosId } = engine.config;
  const ids: number[] = [];
  let logprob = 0;
  const finish = (finishReason: Decoded['finishReason']): Decoded => ({
    ids,
    finishReason,
    logprob,
    steps: ids.length,
  });
  if (signal.stopped) return finish('cancelled');
  const decoder = await engine.decoder(memory, 1, decoding.maxNewTokens);
  try {
    let token = decoderStartId;
    while (ids.length < decoding.maxNewTokens) {
      if (signal.stopped) return finish('cancelled');
      const picked = await decoder.step(Int32Array.of(token), 1, pickFor(decoding, ids.length));
      token = picked.ids[0] ?? eosId;
      ids.push(token);
      logprob += picked.logprobs[0] ?? 0;
      emit([token]);
      if (token === eosId) return finish('stop');
      if (guard?.(ids)) return finish('guard');
    }
    return finish('length');
  } finally {
    decoder.dispose();
  }
}

function pickFor(decoding: Exclude<ResolvedDecoding, { kind: 'beam' }>, index: number): Pick {
  if (decoding.kind === 'greedy') return { kind: 'argmax' };
  const { temperature, topK, topP, seed } = decoding;
  return { kind: 'sample', temperature, topK, topP, uniforms: Float64Array.of(uniform(seed, index)) };
}
