import * as vscode from 'vscode';
import { Method, type PromptCount, type PromptRunResult } from '../../server/protocol';
import type { Answers } from '../answers';
import type { Server } from '../client';
import { showFailure } from '../failure';
import type { Settings } from '../settings';
import { wholeSource } from '../source';
import type { Texts } from '../texts';
import { changedLines, readableDiff } from './diff';
import { changesOf, chooseRepository, nameOf, type Repository } from './git';

export interface ChangesDependencies {
  readonly answers: Answers;
  readonly texts: Texts;
  readonly server: Server;
  readonly settings: () => Settings;
  readonly log: vscode.LogOutputChannel;
}

/** What the source control view offers: a summary of the changes, and the draft of a commit message. */
export function registerChanges(deps: ChangesDependencies): vscode.Disposable {
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    registerCommand('flan.summarizeChanges', (from: unknown) => summarizeChanges(from, deps)),
    registerCommand('flan.draftCommitMessage', (from: unknown) => draftCommitMessage(from, deps)),
  );
}

/** Opens the changes as the model reads them, and answers on top. */
async function summarizeChanges(from: unknown, { answers, texts }: ChangesDependencies): Promise<void> {
  const repository = await chooseRepository(from);
  const text = repository === undefined ? undefined : await changedText(repository);
  if (repository === undefined || text === undefined) return;
  const { document } = await texts.open(vscode.l10n.t('Changes in {0}.diff', nameOf(repository)), text);
  await answers.start(wholeSource(document), { task: 'summarize' });
}

async function changedText(repository: Repository): Promise<string | undefined> {
  const { diff, untracked } = await changesOf(repository);
  const text = [readableDiff(diff), ...untracked.map((name) => `File: ${name}\nNew file`)].filter(
    (part) => part !== '',
  );
  if (text.length > 0) return text.join('\n\n');
  void vscode.window.showInformationMessage(vscode.l10n.t('There are no changes in {0}.', nameOf(repository)));
  return undefined;
}

async function draftCommitMessage(from: unknown, deps: ChangesDependencies): Promise<void> {
  const repository = await chooseRepository(from);
  const text = repository === undefined ? undefined : await changedText(repository);
  if (repository === undefined || text === undefined) return;
  try {
    const draft = await vscode.window.withProgress(
      {
        location: vscode.ProgressLocation.Notification,
        title: vscode.l10n.t('Drafting a commit message…'),
        cancellable: true,
      },
      (_, token) => writeDraft(text, deps, token),
    );
    if (draft !== undefined) useDraft(repository, draft);
  } catch (error) {
    await showFailure(error, deps.log);
  }
}

interface Draft {
  readonly message: string;
  readonly model: string;
  readonly read: number;
  readonly lines: number;
}

/** Characters: more than any model reads need not be counted. */
const MOST_COUNTED = 200_000;

/** How many of the first lines have no more than so many characters together; at least one. */
function linesWithin(lines: readonly string[], most: number): number {
  let characters = 0;
  const over = lines.findIndex((line) => {
    characters += line.length + 1;
    return characters > most;
  });
  return over < 0 ? lines.length : Math.max(1, over);
}

/** By the ready prompt set for this, with as many of the changed lines as fit beside its examples. */
async function writeDraft(
  text: string,
  { server, settings }: ChangesDependencies,
  token: vscode.CancellationToken,
): Promise<Draft | undefined> {
  const { gallery } = await import('../../server/prompts/gallery');
  const set = gallery().find(({ id }) => id === 'commit-message')?.set;
  if (set === undefined) return undefined;
  const { model: chosen, engine } = settings();
  const choice = { engine, ...(chosen === undefined ? {} : { model: chosen }) };
  const lines = changedLines(text);
  let read = linesWithin(lines, MOST_COUNTED);
  const input = (): string => lines.slice(0, read).join('\n');
  for (;;) {
    const count = await server.request<PromptCount>(
      Method.countPrompt,
      { ...choice, set, input: input() },
      undefined,
      token,
    );
    if (count.fits || read <= 1 || token.isCancellationRequested) break;
    // Tokens are spread about evenly over the lines; a little less, so that the second try fits.
    const room = Math.max(0, count.window - (count.total - count.query));
    read = Math.max(1, Math.min(read - 1, Math.floor((read * room * 0.95) / count.query)));
  }
  if (token.isCancellationRequested) return undefined;
  const params = { ...choice, set, input: input(), whenTooLong: 'drop' };
  const result = await server.request<PromptRunResult>(Method.runPrompt, params, undefined, token);
  if (result.finishReason === 'cancelled') return undefined;
  const [message = ''] = result.text.trim().split('\n', 1);
  const model = result.demo
    ? vscode.l10n.t('{0} ({1})', result.model, vscode.l10n.t('demonstration model'))
    : result.model;
  return { message, model, read, lines: lines.length };
}

/** Into the input box. What stood there is not lost. */
function useDraft(repository: Repository, { message, model, read, lines }: Draft): void {
  if (message === '') {
    void vscode.window.showInformationMessage(vscode.l10n.t('The model had nothing to say.'));
    return;
  }
  const before = repository.inputBox.value;
  repository.inputBox.value = message;
  const said = [
    vscode.l10n.t('Drafted by {0}: read it before you commit.', model),
    ...(read < lines ? [vscode.l10n.t('Only the first {0} of {1} changed lines were read.', read, lines)] : []),
  ].join(' ');
  if (before.trim() === '' && read >= lines) {
    vscode.window.setStatusBarMessage(said, 5000);
    return;
  }
  const restore = vscode.l10n.t('Restore the Old Message');
  const choices = before.trim() === '' ? [] : [restore];
  void vscode.window.showInformationMessage(said, ...choices).then((picked) => {
    if (picked === restore) repository.inputBox.value = before;
  });
}
