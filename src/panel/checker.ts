/** Leave-one-out over the open set, and the results that were kept to compare with. */
import * as vscode from 'vscode';
import type { Baseline } from '../../server/prompts/check';
import { compareWithBaseline } from '../../server/prompts/check';
import {
  type CheckedExample,
  type CheckParams,
  type CheckReport,
  Method,
  type PromptProgress,
  type PromptSet,
} from '../../server/protocol';
import { Throttle } from '../throttle';
import { type Asking, failureOf, modelChoice, noteOf, translatedOutcome } from './asking';
import type { CheckState } from './messages';

const SHOW_INTERVAL_MS = 100;
const NOTHING: CheckState = { running: false, note: '', of: 0, examples: [], checked: [] };

/** A complete check, to be kept as a baseline. */
export interface Checked {
  readonly set: PromptSet;
  readonly report: CheckReport;
}

export class Checker {
  private readonly asking: Asking;
  private readonly shown: Throttle;
  private current: CheckState = NOTHING;
  private done: Checked | undefined;
  private baseline: Baseline | undefined;
  private cancellation: vscode.CancellationTokenSource | undefined;

  constructor(asking: Asking, show: (check: CheckState) => void) {
    this.asking = asking;
    this.shown = new Throttle(() => show(this.state), SHOW_INTERVAL_MS);
  }

  get state(): CheckState {
    const { baseline, done } = this;
    if (baseline === undefined) return this.current;
    const comparison = done === undefined ? undefined : compareWithBaseline(baseline, done.set, done.report);
    return { ...this.current, baseline, ...(comparison === undefined ? {} : { comparison }) };
  }

  get result(): Checked | undefined {
    return this.done;
  }

  dispose(): void {
    this.cancellation?.cancel();
    this.shown.dispose();
  }

  stop(): void {
    this.cancellation?.cancel();
  }

  clear(): void {
    this.cancellation?.cancel();
    this.cancellation = undefined;
    this.done = undefined;
    this.baseline = undefined;
    this.change(NOTHING);
  }

  setBaseline(baseline: Baseline | undefined): void {
    this.baseline = baseline;
    this.shown.flush();
  }

  async run(set: PromptSet): Promise<void> {
    this.cancellation?.cancel();
    const cancellation = new vscode.CancellationTokenSource();
    this.cancellation = cancellation;
    const current = (): boolean => this.cancellation === cancellation;
    const of = set.examples.filter(({ off }) => off !== true).length;
    let examples: readonly CheckedExample[] = [];
    const checked = set.examples;
    this.done = undefined;
    this.change({ running: true, note: vscode.l10n.t('Starting…'), of, examples, checked });
    try {
      // The other examples are needed to predict one: without the last ones the results would mean something else.
      const params: CheckParams = { set, whenTooLong: 'refuse', ...modelChoice(this.asking.settings()) };
      const report = await this.asking.server.request<CheckReport, PromptProgress>(
        Method.checkPrompt,
        params,
        (progress) => {
          if (!current()) return;
          if (progress.kind === 'checked') examples = [...examples, shownExample(progress.example)];
          const note = progress.kind === 'checked' ? '' : (noteOf(progress) ?? this.current.note);
          this.current = { running: true, note, of, examples, checked };
          this.shown.request();
        },
        cancellation.token,
      );
      if (!current()) return;
      this.done = { set, report };
      this.change({ running: false, note: '', of, examples: report.examples.map(shownExample), checked, report });
    } catch (error) {
      const message = failureOf(error, cancellation.token, this.asking);
      if (!current()) return;
      this.change({ running: false, note: '', of, examples, checked, ...(message === undefined ? {} : { message }) });
    } finally {
      cancellation.dispose();
    }
  }

  private change(state: CheckState): void {
    this.current = state;
    this.shown.flush();
  }
}

function shownExample(example: CheckedExample): CheckedExample {
  return { ...example, predicted: translatedOutcome(example.predicted) };
}
