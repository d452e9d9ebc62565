import * as vscode from 'vscode';
import type { Progress } from '../server/protocol';
import { deviceName, footer } from './footer';
import type { Asked, KeptResult } from './history/entry';
import { plainAsMarkdown } from './markdown';
import { explainError, type Remedy, remediesFor } from './remedies';

/** Value of `comment` in the when clauses of package.json. */
type CommentContext = 'question' | 'running' | 'answered' | 'answeredReadonly' | 'failed';

/** Ends the text while more is to come. */
const CARET = '▍';

/** A comment of the thread. The object stays the same while its text grows: by that the editor knows it again. */
export class TurnComment implements vscode.Comment {
  readonly turn: Turn;
  readonly mode = vscode.CommentMode.Preview;
  author: vscode.CommentAuthorInformation;
  body: vscode.MarkdownString;
  contextValue: CommentContext;
  label?: string;

  constructor(turn: Turn, author: string, body: string, contextValue: CommentContext) {
    this.turn = turn;
    this.author = { name: author };
    this.body = markdown(body);
    this.contextValue = contextValue;
  }
}

export interface Done {
  readonly result: KeptResult;
  readonly seconds: number;
}

/** One question to the model and its answer: what the user sees of it, and nothing of how it is obtained. */
export class Turn {
  readonly asked: Asked;
  readonly cancellation = new vscode.CancellationTokenSource();
  private readonly questionComment: TurnComment | undefined;
  private answerComment: TurnComment;
  private readonly writable: boolean;
  private started = Date.now();
  private text = '';
  private done: Done | undefined;
  private replacement: Turn | undefined;

  /**
   * @param writable whether the text that it is about can be changed
   * @param model the one that is expected to answer, if known
   */
  constructor(asked: Asked, writable: boolean, model: string | undefined) {
    this.asked = asked;
    this.writable = writable;
    const question = asked.shown ?? asked.question;
    if (question !== undefined) {
      this.questionComment = new TurnComment(this, vscode.l10n.t('You'), plainAsMarkdown(question), 'question');
    }
    this.answerComment = new TurnComment(this, model ?? 'Flan', vscode.l10n.t('Starting…'), 'running');
  }

  get comments(): TurnComment[] {
    return this.questionComment === undefined ? [this.answerComment] : [this.questionComment, this.answerComment];
  }

  get running(): boolean {
    return this.answerComment.contextValue === 'running';
  }

  /** The answer so far, as plain text. */
  get answer(): string {
    return this.text;
  }

  progress(progress: Progress): void {
    switch (progress.kind) {
      case 'queued':
      case 'voting':
        this.say(progressNote(progress));
        break;
      case 'loading':
      case 'encoding':
        this.nameAuthor(progress.model);
        this.say(progressNote(progress));
        break;
      case 'text':
        this.text += progress.append;
        this.answerComment.body = markdown(`${plainAsMarkdown(this.text)} ${CARET}`);
        break;
    }
  }

  /** What the answer was made of; undefined until it is complete. */
  get outcome(): Done | undefined {
    return this.done;
  }

  /** `seconds`: how long it took, if it was not made just now. */
  finish(result: KeptResult, seconds = (Date.now() - this.started) / 1000): void {
    this.done = { result, seconds };
    this.text = result.unanswerable ? vscode.l10n.t('The text does not say.') : result.text;
    const body = this.text.trim() === '' ? emptyNote(result) : plainAsMarkdown(this.text);
    this.settle(this.answered, `${body}\n\n${footer(result, seconds, vscode.l10n.t)}`, [], result.model);
    if (result.demo) this.answerComment.label = vscode.l10n.t('demonstration model');
  }

  /** Stopped before the server had anything to say. */
  stopped(): void {
    this.settle(this.answered, this.withTextBefore(plainAsMarkdown(vscode.l10n.t('Stopped.'))));
  }

  private get answered(): CommentContext {
    return this.writable ? 'answered' : 'answeredReadonly';
  }

  /** What arrived before stays readable above the message. */
  fail(error: unknown): void {
    const headline = this.text === '' ? vscode.l10n.t('No answer.') : vscode.l10n.t('Not finished.');
    const message = `**${headline}** ${plainAsMarkdown(explainError(error))}`;
    const remedies = remediesFor(error);
    const links = remedies.map(({ command, title }) => `[${title}](command:${command})`).join(' · ');
    this.settle('failed', this.withTextBefore(`${message}\n\n${links}`.trim()), remedies);
  }

  /** The one that stands in this one's place now: itself, until it is replaced. */
  get latest(): Turn {
    return this.replacement?.latest ?? this;
  }

  /** `turn` takes its place, and what is still running here ends. */
  replaceBy(turn: Turn): void {
    this.replacement = turn;
    this.dispose();
  }

  dispose(): void {
    this.cancellation.cancel();
    this.cancellation.dispose();
  }

  private withTextBefore(markdown: string): string {
    return this.text === '' ? markdown : `${plainAsMarkdown(this.text)}\n\n${markdown}`;
  }

  private say(text: string): void {
    if (this.text === '') this.answerComment.body = markdown(plainAsMarkdown(text));
  }

  /** The editor never changes the author of a comment that it shows already: that takes a new comment. */
  private nameAuthor(model: string): void {
    const { author, body, contextValue } = this.answerComment;
    if (author.name !== model) this.answerComment = new TurnComment(this, model, body.value, contextValue);
  }

  /** Nor does it renew what a screen reader says of a comment. */
  private settle(
    contextValue: CommentContext,
    body: string,
    remedies: readonly Remedy[] = [],
    model = this.answerComment.author.name,
  ): void {
    this.answerComment = new TurnComment(this, model, body, contextValue);
    // The model's own words are escaped: only the links written here can be commands.
    this.answerComment.body.isTrusted = { enabledCommands: remedies.map(({ command }) => command) };
  }
}

/** What a user waits for before the first word. */
export function progressNote(progress: Exclude<Progress, { kind: 'text' }>): string {
  switch (progress.kind) {
    case 'queued':
      return progress.ahead === 1
        ? vscode.l10n.t('Waiting for another answer…')
        : vscode.l10n.t('Waiting for {0} other answers…', progress.ahead);
    case 'loading':
      return loadingText(progress);
    case 'encoding':
      return vscode.l10n.t('Reading {0} tokens on {1}…', progress.tokens, deviceName(progress.device, vscode.l10n.t));
    case 'voting':
      return vscode.l10n.t('{0} of {1} samples', progress.finished, progress.of);
  }
}

function loadingText({ model, message, fraction }: Extract<Progress, { kind: 'loading' }>): string {
  const phase = loadingPhase(model, message);
  return fraction === undefined ? phase : vscode.l10n.t('{0} {1} %', phase, Math.floor(fraction * 100));
}

/** The server names the phase by the first word of its message; the long ones differ enough to be told apart. */
function loadingPhase(model: string, message: string): string {
  switch (message.split(' ', 1)[0]) {
    case 'Checking':
      return vscode.l10n.t('Checking the weights of {0}…', model);
    case 'Quantizing':
    case 'Converting':
      return vscode.l10n.t('Converting {0}, once…', model);
    default:
      return vscode.l10n.t('Loading {0}…', model);
  }
}

function emptyNote(result: KeptResult): string {
  return result.finishReason === 'cancelled'
    ? vscode.l10n.t('Stopped.')
    : vscode.l10n.t('The model had nothing to say.');
}

function markdown(value: string): vscode.MarkdownString {
  const string = new vscode.MarkdownString(value);
  string.supportHtml = true;
  return string;
}
