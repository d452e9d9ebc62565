/** One request of a user, from its text to its answer. */
import type { StopSignal } from '../engine/engine';
import { resolveDecoding } from '../generate/decoding';
import { generate } from '../generate/generate';
import type { Progress, RunParams, RunResult } from '../protocol';
import { AnswerStream } from './answer';
import type { TaskModel } from './model';
import { promptFor } from './prompt';
import { endlessRepetition } from './repetition';

export interface RunHooks {
  readonly signal?: StopSignal | undefined;
  /** Gets `encoding` once, then `text` pieces that, joined, are the result's text. */
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Most tokens drafted from the source per step (see generate/speculation.ts); 0 or absent: no drafts. */
  readonly draft?: number | undefined;
}

/**
 * Explains, summarizes, answers, or continues a raw prompt. A stopped run resolves with the text so far.
 * @throws UsageError and the errors of `promptFor` before any work; engine errors as they come
 */
export async function runTask(model: TaskModel, params: RunParams, hooks: RunHooks = {}): Promise<RunResult> {
  const decoding = resolveDecoding(params);
  const prompt = promptFor(model, params);
  const { engine, codec, profile } = model;
  const raw = params.task === 'generate';
  const progress = hooks.onProgress ?? (() => {});
  progress({ kind: 'encoding', tokens: prompt.ids.length, device: engine.info.device, model: model.name });

  const word = params.task === 'ask' ? profile.unanswerable : undefined;
  const stream = new AnswerStream(codec, prompt.restore, word, (append) => progress({ kind: 'text', append }));
  const generated = await generate(engine, prompt.ids, decoding, {
    signal: hooks.signal,
    draft: hooks.draft,
    guard: !raw && profile.guardsRepetition ? endlessRepetition : undefined,
    onTokens: (ids) => stream.push(ids),
  });
  const answer = stream.end(generated.finishReason === 'cancelled');
  return {
    ...answer,
    ids: generated.ids,
    promptIds: prompt.ids,
    // A guard ends an answer that the model would not have ended: for the user that is a cut, and `repeated` says why.
    finishReason: generated.finishReason === 'guard' ? 'length' : generated.finishReason,
    ...(generated.finishReason === 'guard' ? { repeated: true } : {}),
    ...(decoding.kind === 'sample' ? { seed: decoding.seed } : {}),
    engine: engine.info.engine,
    device: engine.info.device,
    model: model.name,
    weights: model.weights,
    timings: { loadMs: model.loadMs, ...generated.timings },
    read: prompt.read,
    substitutions: prompt.substitutions,
    demo: model.demo,
  };
}
