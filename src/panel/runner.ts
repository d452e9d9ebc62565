/** One answer at a time in the view: on typed text, or on the selection. */
import * as vscode from 'vscode';
import {
  Method,
  type PromptProgress,
  type PromptRunResult,
  type PromptSet,
  type RunPromptParams,
  type WhenTooLong,
} from '../../server/protocol';
import { codeOf } from '../errors';
import { footerLines } from '../footer';
import { Throttle } from '../throttle';
import { type Asking, failureOf, keptPromptResult, modelChoice, noteOf } from './asking';
import type { AnswerMode, AnswerState } from './messages';

/** Words appear as fast as anybody reads. */
const SHOW_INTERVAL_MS = 50;

export class Runner {
  private readonly asking: Asking;
  private readonly shown: Throttle;
  private current: AnswerState = { kind: 'none' };
  private cancellation: vscode.CancellationTokenSource | undefined;

  constructor(asking: Asking, show: (answer: AnswerState) => void) {
    this.asking = asking;
    this.shown = new Throttle(() => show(this.current), SHOW_INTERVAL_MS);
  }

  get state(): AnswerState {
    return this.current;
  }

  dispose(): void {
    this.cancellation?.cancel();
    this.shown.dispose();
  }

  stop(): void {
    this.cancellation?.cancel();
  }

  /** Another set is open: its answers are not those of this one. */
  clear(): void {
    this.cancellation?.cancel();
    this.cancellation = undefined;
    this.change({ kind: 'none' });
  }

  async run(set: PromptSet, mode: AnswerMode, input: string, whenTooLong: WhenTooLong): Promise<void> {
    this.cancellation?.cancel();
    const cancellation = new vscode.CancellationTokenSource();
    this.cancellation = cancellation;
    const started = Date.now();
    const current = (): boolean => this.cancellation === cancellation;
    let text = '';
    this.change({ kind: 'running', mode, input, note: vscode.l10n.t('Starting…'), text });
    try {
      const params: RunPromptParams = { set, input, whenTooLong, ...modelChoice(this.asking.settings()) };
      const result = await this.asking.server.request<PromptRunResult, PromptProgress>(
        Method.runPrompt,
        params,
        (progress) => {
          if (!current()) return;
          if (progress.kind === 'text') text += progress.append;
          this.current = { kind: 'running', mode, input, note: noteOf(progress) ?? '', text };
          this.shown.request();
        },
        cancellation.token,
      );
      if (!current()) return;
      const seconds = (Date.now() - started) / 1000;
      const [facts = '', ...notes] = footerLines(keptPromptResult(result), seconds, vscode.l10n.t);
      this.change({ kind: 'done', mode, input, text: result.text, facts, notes, result });
    } catch (error) {
      const message = failureOf(error, cancellation.token, this.asking);
      if (!current()) return;
      const stopped = { kind: 'done', mode, input, text, facts: vscode.l10n.t('Stopped.'), notes: [] } as const;
      const tooLong = codeOf(error) === 'prompt-set-too-long';
      this.change(message === undefined ? stopped : { kind: 'failed', mode, input, text, message, tooLong });
    } finally {
      cancellation.dispose();
    }
  }

  private change(state: AnswerState): void {
    this.current = state;
    this.shown.flush();
  }
}
