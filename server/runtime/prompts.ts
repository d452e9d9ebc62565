/**
 * Requests about prompt sets. A request on many inputs asks the model once for each of them, so that requests of other
 * clients get their turn in between, and what is done is with the client before the next one begins.
 */
import { CancelledError, FlanError } from '../errors';
import { sameAnswer, summarize } from '../prompts/check';
import { PromptSetNotReadyError } from '../prompts/errors';
import { problemsOf } from '../prompts/problems';
import { type PromptSet, shownExamples } from '../prompts/set';
import type {
  Answerer,
  CheckedExample,
  CheckParams,
  CheckReport,
  CountPromptParams,
  LoadParams,
  ModelChoice,
  Progress,
  PromptAnswer,
  PromptCount,
  PromptOutcome,
  PromptProgress,
  PromptRunResult,
  RunManyParams,
  RunManyResult,
  RunPromptParams,
} from '../protocol';
import { sayingOf } from '../rpc/errors';
import type { PromptJob, PromptJobResult } from '../tasks/fewshot/answer';
import type { Loaded } from './messages';
import type { Meter } from './meter';
import type { CancelToken, ModelService, ResolveChoice } from './service';

type Send = (progress: PromptProgress) => void;
type Service = Pick<ModelService, 'prompt' | 'load' | 'loaded' | 'hold'>;

/** What is wrong with one input, and with none of the others. */
const OF_ONE_INPUT: readonly string[] = ['prompt-set-too-long', 'empty-input', 'input-too-large', 'binary-input'];

export class PromptRequests {
  readonly #service: Service;
  readonly #meter: Pick<Meter, 'count'>;
  readonly #resolve: ResolveChoice;

  constructor(service: Service, meter: Pick<Meter, 'count'>, resolve: ResolveChoice) {
    this.#service = service;
    this.#meter = meter;
    this.#resolve = resolve;
  }

  /** Of the model that would answer: the loaded one if it may, otherwise the one that would be loaded first. */
  async count({ set, input = '', ...choice }: CountPromptParams): Promise<PromptCount> {
    const { folders } = await this.#resolve(choice);
    const folder = folders.find(({ dir }) => dir === this.#service.loaded?.dir) ?? folders[0];
    if (folder === undefined) throw new RangeError('A choice has at least one folder.');
    return this.#meter.count(folder, set, input);
  }

  async run(client: number, params: RunPromptParams, send: Send, token: CancelToken): Promise<PromptRunResult> {
    requireReady(params.set);
    try {
      return await this.#service.prompt(client, jobOf(params, params.input), send, token);
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
      return { ...answererOf(this.#service.loaded, params), ...NOTHING };
    }
  }

  runMany(client: number, params: RunManyParams, send: Send, token: CancelToken): Promise<RunManyResult> {
    return this.#held(() => this.#runMany(client, params, send, token));
  }

  check(client: number, params: CheckParams, send: Send, token: CancelToken): Promise<CheckReport> {
    return this.#held(() => this.#check(client, params, send, token));
  }

  async #held<R>(work: () => Promise<R>): Promise<R> {
    const release = this.#service.hold();
    try {
      return await work();
    } finally {
      release();
    }
  }

  async #runMany(client: number, params: RunManyParams, send: Send, token: CancelToken): Promise<RunManyResult> {
    requireReady(params.set);
    const { inputs } = params;
    const answerer = await this.#load(client, params, send, token);
    // The same input gives the same answer.
    const known = new Map<string, PromptOutcome>();
    let failed = 0;
    let at = 0;
    for (; at < inputs.length && !token.isCancellationRequested; at++) {
      const input = inputs[at] ?? '';
      const asked = known.get(input) ?? (await this.#ask(client, jobOf(params, input), send, token))?.outcome;
      if (asked === undefined) break;
      known.set(input, asked);
      if (asked.kind === 'failed') failed++;
      send({ kind: 'outcome', at, of: inputs.length, outcome: asked });
    }
    return { ...answerer, answered: at - failed, failed, cancelled: at < inputs.length };
  }

  async #check(client: number, params: CheckParams, send: Send, token: CancelToken): Promise<CheckReport> {
    const { set } = params;
    requireReady(set);
    const shown = shownExamples(set);
    const answerer = await this.#load(client, params, send, token);
    const examples: CheckedExample[] = [];
    for (const [at, index] of shown.entries()) {
      const { input = '', output = '' } = set.examples[index] ?? {};
      const job = { ...jobOf(params, input), leaveOut: index };
      const asked = token.isCancellationRequested ? undefined : await this.#ask(client, job, send, token);
      if (asked === undefined) break;
      const { outcome: predicted, own } = asked;
      const agrees = predicted.kind === 'answered' && sameAnswer(predicted.answer.text, output);
      const example = { index, predicted, agrees, ...(own === undefined ? {} : { own }) };
      examples.push(example);
      send({ kind: 'checked', at, of: shown.length, example });
    }
    return { ...answerer, examples, ...summarize(examples), cancelled: examples.length < shown.length };
  }

  /** undefined: cancelled. */
  async #ask(
    client: number,
    job: PromptJob & ModelChoice,
    send: Send,
    token: CancelToken,
  ): Promise<{ readonly outcome: PromptOutcome; readonly own?: PromptJobResult['own'] } | undefined> {
    try {
      const result = await this.#service.prompt(client, job, waiting(send), token);
      if (result.finishReason === 'cancelled') return undefined;
      return { outcome: { kind: 'answered', answer: answerOf(result) }, ...(result.own ? { own: result.own } : {}) };
    } catch (error) {
      if (error instanceof CancelledError) return undefined;
      if (!(error instanceof FlanError) || !OF_ONE_INPUT.includes(error.code)) throw error;
      return { outcome: { kind: 'failed', code: error.code, message: error.message, ...sayingOf(error) } };
    }
  }

  /** Loads the model, so that even a request without an answer can say who was asked. */
  async #load(client: number, params: LoadParams, send: Send, token: CancelToken): Promise<Answerer> {
    try {
      return answererOf(await this.#service.load(client, params, send, token), params);
    } catch (error) {
      if (!(error instanceof CancelledError)) throw error;
      return answererOf(this.#service.loaded, params);
    }
  }
}

/** @throws PromptSetNotReadyError: once, before it would be said of every input */
function requireReady(set: PromptSet): void {
  const problem = problemsOf(set)[0];
  if (problem !== undefined) throw new PromptSetNotReadyError(problem.saying);
}

function jobOf({ set, whenTooLong, model, engine, weights }: CheckParams, input: string): PromptJob & ModelChoice {
  return {
    set,
    input,
    ...(whenTooLong === undefined ? {} : { whenTooLong }),
    ...(model === undefined ? {} : { model }),
    ...(engine === undefined ? {} : { engine }),
    ...(weights === undefined ? {} : { weights }),
  };
}

/** Of many answers nobody reads their text as it grows. */
function waiting(send: Send): (progress: Progress) => void {
  return (progress) => {
    if (progress.kind === 'queued' || progress.kind === 'loading') send(progress);
  };
}

/** Without what is the same for all answers, and without thousands of prompt ids for each of them. */
function answerOf(result: PromptJobResult): PromptAnswer {
  const { ids, promptIds, timings, engine, device, model, weights, demo, own, ...answer } = result;
  return answer;
}

function answererOf(loaded: Loaded | undefined, asked: ModelChoice): Answerer {
  return {
    engine: loaded?.engine ?? asked.engine ?? 'auto',
    device: loaded?.device ?? '',
    model: loaded?.model ?? asked.model ?? '',
    weights: loaded?.weights ?? asked.weights ?? 'int8',
    demo: loaded?.demo ?? false,
  };
}

/** The result of a run that was cancelled before the model read anything. */
const NOTHING = {
  text: '',
  ids: [],
  promptIds: [],
  logprob: 0,
  tokens: 0,
  finishReason: 'cancelled',
  promptTokens: 0,
  window: 0,
  dropped: [],
  substitutions: [],
  timings: { loadMs: 0, encodeMs: 0, firstTokenMs: 0, msPerToken: 0 },
} as const;
