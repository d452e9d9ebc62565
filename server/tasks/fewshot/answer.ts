/** One input to a prompt set: written, chosen from options, or voted for. */
import type { Memory, StopSignal } from '../../engine/engine';
import { CancelledError } from '../../errors';
import { resolveDecoding } from '../../generate/decoding';
import { generateFrom } from '../../generate/generate';
import { scoreRows } from '../../generate/rows';
import { scoreFrom } from '../../generate/score';
import { PromptSetNotReadyError } from '../../prompts/errors';
import { problemsOf } from '../../prompts/problems';
import { DEFAULT_ANSWER_TOKENS, type PromptSet } from '../../prompts/set';
import type { Likelihood, OptionScore, Progress, PromptRunResult, Timings, WhenTooLong } from '../../protocol';
import { checkInput } from '../../text/input';
import { AnswerStream } from '../answer';
import type { TaskModel } from '../model';
import { endlessRepetition } from '../repetition';
import { type FittedSet, fitSet } from './fit';
import { voteFor } from './vote';

export interface PromptJob {
  readonly set: PromptSet;
  readonly input: string;
  readonly whenTooLong?: WhenTooLong;
  /** Index of the example whose input this is: it is not shown, and its own output is scored, too. */
  readonly leaveOut?: number;
}

export interface PromptJobResult extends PromptRunResult {
  /** Of the output of `leaveOut`; absent when cancelled. */
  readonly own?: Likelihood;
}

export interface PromptHooks {
  readonly signal?: StopSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
  /** Most tokens drafted from the source per step; 0 or absent: no drafts. */
  readonly draft?: number | undefined;
}

/** The part of a result that depends on how the answer is made. */
export type Made = Pick<
  PromptJobResult,
  'text' | 'ids' | 'logprob' | 'tokens' | 'finishReason' | 'repeated' | 'options' | 'votes' | 'sample'
> & { readonly firstTokenMs: number; readonly msPerToken: number };

/** What the makers of answers share. */
export interface Making {
  readonly model: TaskModel;
  readonly memory: Memory;
  readonly fitted: FittedSet;
  readonly set: PromptSet;
  readonly hooks: PromptHooks;
}

/**
 * Encodes the prompt once; the answer and the likelihood of an own output both come from that memory. A stopped run
 * resolves with the text so far.
 * @throws PromptSetNotReadyError, PromptSetTooLongError, EmptyInputError, BinaryInputError, InputTooLargeError
 */
export async function answerPrompt(
  model: TaskModel,
  job: PromptJob,
  hooks: PromptHooks = {},
): Promise<PromptJobResult> {
  const { set, input, leaveOut } = job;
  const problem = problemsOf(set)[0];
  if (problem !== undefined) throw new PromptSetNotReadyError(problem.saying);
  checkInput(input);
  const { engine } = model;
  const fitted = fitSet(model, set, input, job);
  hooks.onProgress?.({ kind: 'encoding', tokens: fitted.ids.length, device: engine.info.device, model: model.name });

  const start = performance.now();
  let memory: Memory | undefined;
  let encodeMs = 0;
  let made: Made;
  let own: Likelihood | undefined;
  try {
    if (hooks.signal?.stopped) throw new CancelledError();
    memory = await engine.encode(Int32Array.from(fitted.ids), hooks.signal);
    encodeMs = performance.now() - start;
    const making = { model, memory, fitted, set, hooks };
    made = await make(making);
    if (leaveOut !== undefined && made.finishReason !== 'cancelled') own = await ownLikelihood(making, leaveOut);
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
    made = { text: '', ids: [], logprob: 0, tokens: 0, finishReason: 'cancelled', firstTokenMs: 0, msPerToken: 0 };
  } finally {
    memory?.dispose();
  }
  const { firstTokenMs, msPerToken, ...answer } = made;
  const timings: Timings = { loadMs: model.loadMs, encodeMs, firstTokenMs, msPerToken };
  return {
    ...answer,
    promptIds: fitted.ids,
    promptTokens: fitted.ids.length,
    window: fitted.window,
    dropped: fitted.dropped,
    substitutions: fitted.plan.substitutions,
    engine: engine.info.engine,
    device: engine.info.device,
    model: model.name,
    weights: model.weights,
    demo: model.demo,
    timings,
    ...(own === undefined ? {} : { own }),
  };
}

function make(making: Making): Promise<Made> {
  if ((making.set.options ?? []).length > 0) return choose(making);
  return (making.set.generation?.votes ?? 1) > 1 ? voteFor(making) : write(making);
}

async function write({ model, memory, fitted, set, hooks }: Making): Promise<Made> {
  const { engine, codec, profile } = model;
  const { maxNewTokens = DEFAULT_ANSWER_TOKENS, beams = 1 } = set.generation ?? {};
  const show = (append: string) => hooks.onProgress?.({ kind: 'text', append });
  const stream = new AnswerStream(codec, fitted.plan.restore, undefined, show);
  const generated = await generateFrom(engine, memory, fitted.ids, resolveDecoding({ maxNewTokens, beams }), {
    signal: hooks.signal,
    draft: hooks.draft,
    guard: profile.guardsRepetition ? endlessRepetition : undefined,
    onTokens: (ids) => stream.push(ids),
  });
  const { text } = stream.end(generated.finishReason === 'cancelled');
  return {
    text,
    ids: generated.ids,
    logprob: generated.logprob,
    tokens: generated.ids.length,
    ...(generated.finishReason === 'guard'
      ? { finishReason: 'length', repeated: true }
      : { finishReason: generated.finishReason }),
    firstTokenMs: generated.timings.firstTokenMs,
    msPerToken: generated.timings.msPerToken,
  };
}

/** Forced scoring of every option over one memory; the most probable one is the answer. */
async function choose({ model, memory, fitted, set, hooks }: Making): Promise<Made> {
  const start = performance.now();
  const options = (set.options ?? []).map((option) => option.trim());
  const written = options.map((option) => model.codec.encode(fitted.plan.apply(option)));
  const scores = await scoreRows(model.engine, memory, written, hooks.signal);
  const best = scores.indexOf(Math.max(...scores));
  const top = scores[best] ?? Number.NaN;
  const total = scores.reduce((sum, score) => sum + Math.exp(score - top), 0);
  const ids = written[best] ?? [];
  const ms = performance.now() - start;
  return {
    text: options[best] ?? '',
    ids,
    logprob: top,
    tokens: ids.length,
    finishReason: 'stop',
    options: options.map((option, at): OptionScore => {
      const logprob = scores[at] ?? Number.NaN;
      return { option, logprob, probability: Math.exp(logprob - top) / total };
    }),
    firstTokenMs: ms,
    msPerToken: ids.length === 0 ? 0 : ms / ids.length,
  };
}

async function ownLikelihood({ model, memory, fitted, set }: Making, index: number): Promise<Likelihood> {
  const output = set.examples[index]?.output.trim() ?? '';
  const ids = model.codec.encode(fitted.plan.apply(output));
  let logprob = 0;
  for (const value of await scoreFrom(model.engine, memory, ids)) logprob += value;
  return { logprob, tokens: ids.length, perToken: logprob / ids.length };
}
