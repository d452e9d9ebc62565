/** The `score` request: how probable a given answer is, in all and token by token. */
import type { StopSignal } from '../engine/engine';
import { UsageError } from '../errors';
import { scoreAnswer } from '../generate/score';
import type { ScoreParams, ScoreResult } from '../protocol';
import type { TaskModel } from './model';
import { rawIds } from './prompt';

/**
 * The prompt and the answer are used as they are; the answer's end token counts.
 * @throws UsageError (no answer), the errors of `rawIds`, CancelledError
 */
export async function runScore(
  model: TaskModel,
  params: ScoreParams,
  hooks: { readonly signal?: StopSignal | undefined } = {},
): Promise<ScoreResult> {
  if (params.answer.trim() === '') throw new UsageError('The answer is empty: give the text to score.');
  const { engine, codec } = model;
  const promptIds = rawIds(model, params.prompt);
  const ids = rawIds(model, params.answer);
  const scored = await scoreAnswer(engine, promptIds, ids, hooks.signal);
  return {
    text: params.answer,
    ids,
    promptIds,
    logprob: scored.logprob,
    tokens: ids.map((id, i) => ({ id, text: codec.piece(id), logprob: scored.logprobs[i] ?? Number.NaN })),
    engine: engine.info.engine,
    device: engine.info.device,
    model: model.name,
    weights: model.weights,
    timings: { loadMs: model.loadMs, ...scored.timings },
  };
}
