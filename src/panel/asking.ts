/** What the parts of the view share when they ask the server: the model of the settings, progress, and its end. */
import type * as vscode from 'vscode';
import type { ModelChoice, PromptOutcome, PromptProgress, PromptRunResult } from '../../server/protocol';
import type { Server } from '../client';
import { codeOf } from '../errors';
import type { KeptResult } from '../history/entry';
import { explainError } from '../remedies';
import type { Settings } from '../settings';
import { translated } from '../translated';
import { progressNote } from '../turn';

export interface Asking {
  readonly server: Server;
  readonly settings: () => Settings;
  readonly log: vscode.LogOutputChannel;
}

/** In the form of other answers, whose small print it shares. */
export function keptPromptResult(result: PromptRunResult): KeptResult {
  const { ids: _ids, promptIds: _promptIds, promptTokens, window, ...rest } = result;
  // The whole text was read, or there is no answer: what does not fit are examples.
  const read = { complete: true, fromLine: 1, toLine: 1, lastLine: 1, promptTokens, window };
  return { ...rest, read, unanswerable: false };
}

export function modelChoice(settings: Settings): ModelChoice {
  const { model, engine } = settings;
  return { engine, ...(model === undefined ? {} : { model }) };
}

/** What is said before the first result; undefined when the progress is a result itself. */
export function noteOf(progress: PromptProgress): string | undefined {
  switch (progress.kind) {
    case 'queued':
    case 'loading':
    case 'encoding':
    case 'voting':
      return progressNote(progress);
    default:
      return undefined;
  }
}

/** As it is shown: why there is no answer is said in the editor's language. */
export function translatedOutcome(outcome: PromptOutcome): PromptOutcome {
  if (outcome.kind === 'answered' || outcome.saying === undefined) return outcome;
  return { ...outcome, message: translated(outcome.saying) };
}

/** Undefined for what the user stopped. */
export function failureOf(error: unknown, token: vscode.CancellationToken, { log }: Asking): string | undefined {
  if (token.isCancellationRequested || codeOf(error) === 'cancelled') return undefined;
  log.error(`Prompt set: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`);
  return explainError(error);
}
