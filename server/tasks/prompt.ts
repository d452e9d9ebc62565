/** From a request to a prompt: checks, template, window. */
import { FlanError, UsageError } from '../errors';
import type { ReadPart, RunParams, Substitution } from '../protocol';
import { say } from '../saying';
import { checkInput } from '../text/input';
import { fitPrompt } from '../text/window';
import { isProse, languageName } from './languages';
import { substituterOf, type TaskModel } from './model';

/**
 * A raw prompt is never cut, and T5 has no fixed length: what limits it is memory, which grows with the square of the
 * length where an engine keeps whole attention scores (a gigabyte a layer for 16 heads at this length).
 */
const MAX_RAW_TOKENS = 4096;

/** A raw prompt that is far beyond what models of this family read. */
export class PromptTooLongError extends FlanError {
  constructor(tokens: number, limit: number) {
    super('prompt-too-long', say('The prompt has {0} tokens, the limit is {1}: shorten it.', tokens, limit));
  }
}

export interface TaskPrompt {
  /** End token included. */
  readonly ids: readonly number[];
  readonly read: ReadPart;
  readonly substitutions: readonly Substitution[];
  readonly restore: (output: string) => string;
}

/**
 * Builds the prompt of one request.
 * @throws UsageError (`ask` without a question), EmptyInputError, InputTooLargeError, BinaryInputError,
 *   QuestionTooLongError, PromptTooLongError
 */
export function promptFor(model: TaskModel, params: RunParams): TaskPrompt {
  // Editors count lines the same way whichever line ends a file has; a byte order mark is no text.
  const text = params.task === 'generate' ? params.text : params.text.replace(/^\ufeff/, '').replaceAll('\r\n', '\n');
  if (params.task === 'generate') return rawPrompt(model, text, params.firstLine ?? 1);
  checkInput(text);

  const question = params.question?.trim() ?? '';
  if (params.task === 'ask' && question === '')
    throw new UsageError(say('A question is missing: say what you want to know.'));
  const frame = model.profile.frame(params.task, {
    question,
    language: languageName(params.languageId),
    prose: isProse(params.languageId, text),
    ...(params.modeToken === undefined ? {} : { mode: params.modeToken }),
  });
  const { ids, read, plan } = fitPrompt(frame, text, {
    codec: model.codec,
    substituter: substituterOf(model.codec),
    policy: 'fold',
    window: model.profile.window,
    firstLine: params.firstLine ?? 1,
    ...(params.lastLine === undefined ? {} : { lastLine: params.lastLine }),
  });
  return { ids, read, substitutions: plan.substitutions, restore: plan.restore };
}

/**
 * Ids of a text that is used as it is, end token included.
 * @throws EmptyInputError, InputTooLargeError, BinaryInputError, PromptTooLongError
 */
export function rawIds(model: TaskModel, text: string): number[] {
  checkInput(text);
  const ids = model.codec.encode(text);
  if (ids.length > MAX_RAW_TOKENS) throw new PromptTooLongError(ids.length, MAX_RAW_TOKENS);
  return ids;
}

/** The prompt as it is; what its characters lose is reported all the same. */
function rawPrompt(model: TaskModel, text: string, firstLine: number): TaskPrompt {
  const ids = rawIds(model, text);
  const { window } = model.profile;
  const lastLine = firstLine + text.split('\n').length - 1;
  return {
    ids,
    read: { complete: true, fromLine: firstLine, toLine: lastLine, lastLine, promptTokens: ids.length, window },
    substitutions: substituterOf(model.codec).lossesOf(text),
    restore: (output) => output,
  };
}
