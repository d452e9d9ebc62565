/**
 * A run on every line of a file, or on a column of a table. What is answered is written down at once, so that a run that
 * was cancelled, or whose window was closed, goes on from there.
 */
import * as vscode from 'vscode';
import { readJournal } from '../../server/prompts/journal';
import { type Input, inputsFrom } from '../../server/prompts/pick';
import type { ResultRow } from '../../server/prompts/results';
import { guessColumns, type Table } from '../../server/prompts/table';
import {
  Method,
  type PromptOutcome,
  type PromptProgress,
  type PromptSet,
  type RunManyParams,
  type RunManyResult,
} from '../../server/protocol';
import { messageOf } from '../errors';
import { deviceName, formatSeconds } from '../footer';
import { Throttle } from '../throttle';
import { type Asking, failureOf, modelChoice, noteOf, translatedOutcome } from './asking';
import { Journal } from './journal';
import { type ManyRow, type ManyState, MOST_ROWS, type RowsToShow } from './messages';
import { readTable } from './tables';

const SHOW_INTERVAL_MS = 100;
const CHOSEN_KEY = 'flan.promptInputs';
/** Too long an input loses an example rather than the answer; the row then says so. */
const WHEN_TOO_LONG = 'drop';

interface Chosen {
  readonly uri: vscode.Uri;
  readonly name: string;
  readonly table: Table;
  readonly column: number;
  readonly inputs: readonly Input[];
  readonly skipped: number;
}

export interface ManyDependencies {
  readonly asking: Asking;
  readonly state: vscode.Memento;
  /** Of this workspace, on this machine. */
  readonly storage: vscode.Uri | undefined;
  readonly show: (many: ManyState, rows: RowsToShow) => void;
  /** Of the model that would answer, if known. */
  readonly model: () => string | undefined;
}

export class Many {
  private readonly deps: ManyDependencies;
  private readonly shown: Throttle;
  private chosen: Chosen | undefined;
  private problem: string | undefined;
  private outcomes: (PromptOutcome | undefined)[] = [];
  /** Of what `outcomes` are. */
  private ran: PromptSet | undefined;
  /** The rows that have changed since the page heard of them. */
  private changedFrom = 0;
  private changedTo = 0;
  private running = false;
  private note = '';
  private facts = '';
  private cancellation: vscode.CancellationTokenSource | undefined;

  constructor(deps: ManyDependencies) {
    this.deps = deps;
    this.shown = new Throttle(() => this.send(this.changedFrom, this.changedTo), SHOW_INTERVAL_MS);
  }

  /** The longest input, for the meter. */
  get longest(): string {
    let longest = '';
    for (const { text } of this.chosen?.inputs ?? []) if (text.length > longest.length) longest = text;
    return longest;
  }

  get results(): { readonly rows: readonly ResultRow[]; readonly table: Table; readonly name: string } | undefined {
    const { chosen } = this;
    if (chosen === undefined) return undefined;
    const cells = new Map(chosen.table.rows.map((row) => [row.line, row.cells]));
    const rows = chosen.inputs.flatMap(({ line, text }, index) => {
      const outcome = this.outcomes[index];
      const own = cells.get(line);
      if (outcome === undefined) return [];
      return [{ line, input: text, outcome, ...(own === undefined ? {} : { cells: own }) }];
    });
    return { rows, table: chosen.table, name: chosen.name };
  }

  dispose(): void {
    this.cancellation?.cancel();
    this.shown.dispose();
  }

  /** Everything, for a page that was just made. */
  showAll(): void {
    this.send();
  }

  /** Another set is open: what ran was not this one. */
  clear(): void {
    this.cancel();
    this.ran = undefined;
    this.outcomes = [];
    this.facts = '';
    this.send();
  }

  cancel(): void {
    this.cancellation?.cancel();
  }

  /** The file of the last time, with what its journal holds. */
  async restore(set: PromptSet | undefined): Promise<void> {
    const kept = this.deps.state.get<{ uri: string; column: number }>(CHOSEN_KEY);
    if (kept === undefined || this.chosen !== undefined) return;
    await this.choose(vscode.Uri.parse(kept.uri), set, kept.column);
    // The file may be gone since; nobody asked for it now.
    if (this.problem !== undefined) this.problem = undefined;
    this.send();
  }

  async choose(uri: vscode.Uri, set: PromptSet | undefined, column?: number): Promise<void> {
    this.cancel();
    try {
      const { table, name } = await readTable(uri);
      this.problem = undefined;
      await this.take(uri, name, table, column ?? guessColumns(table).input, set);
    } catch (error) {
      this.problem = messageOf(error);
      this.send();
    }
  }

  async chooseColumn(column: number, set: PromptSet | undefined): Promise<void> {
    const { chosen } = this;
    if (chosen === undefined || chosen.column === column) return;
    this.cancel();
    await this.take(chosen.uri, chosen.name, chosen.table, column, set);
  }

  private async take(
    uri: vscode.Uri,
    name: string,
    table: Table,
    wanted: number,
    set: PromptSet | undefined,
  ): Promise<void> {
    const column = Math.min(wanted, Math.max(0, table.columns.length - 1));
    const { picked, skipped } = inputsFrom(table, column);
    this.chosen = { uri, name, table, column, inputs: picked, skipped: skipped.length };
    this.outcomes = [];
    this.facts = '';
    this.ran = undefined;
    await this.deps.state.update(CHOSEN_KEY, { uri: uri.toString(), column });
    if (set !== undefined) await this.recall(set);
    this.send();
  }

  /** What an earlier run with the same set and model has answered. */
  async recall(set: PromptSet): Promise<void> {
    const { chosen } = this;
    const journal = this.journal(set);
    if (chosen === undefined || journal === undefined || this.running || this.ran !== undefined) return;
    const known = readJournal((await journal.read()) ?? '', journal.identity);
    if (known === undefined || this.chosen !== chosen || this.running) return;
    this.outcomes = chosen.inputs.map(({ text }) => known.get(text));
    if (this.outcomes.some((outcome) => outcome !== undefined)) this.ran = set;
    this.send();
  }

  /** The set was edited: results stay to be seen, and say that they are of before. */
  edited(): void {
    if (this.ran !== undefined) this.shown.request();
  }

  /** `again`: from the first input; else only those without an answer. */
  async run(set: PromptSet, again: boolean): Promise<void> {
    const { chosen } = this;
    if (chosen === undefined || this.running) return;
    if (again) this.outcomes = [];
    const left = chosen.inputs.flatMap((_, index) => (this.outcomes[index]?.kind === 'answered' ? [] : [index]));
    for (const index of left) this.outcomes[index] = undefined;
    const cancellation = new vscode.CancellationTokenSource();
    this.cancellation = cancellation;
    this.running = true;
    this.ran = set;
    this.note = vscode.l10n.t('Starting…');
    this.facts = '';
    this.problem = undefined;
    const started = Date.now();
    this.send();
    let journal: Journal | undefined;
    try {
      const params: RunManyParams = {
        set,
        inputs: left.map((index) => chosen.inputs[index]?.text ?? ''),
        whenTooLong: WHEN_TOO_LONG,
        ...modelChoice(this.deps.asking.settings()),
      };
      const result = await this.deps.asking.server.request<RunManyResult, PromptProgress>(
        Method.runPromptMany,
        params,
        (progress) => {
          // Another file, column or set since: this run was told to stop, and has outcomes on their way.
          if (this.chosen !== chosen || this.ran !== set) return;
          if (progress.kind === 'outcome') {
            journal ??= this.startJournal(set, again);
            this.keep(left[progress.at], progress.outcome, journal);
          } else this.note = noteOf(progress) ?? this.note;
          this.shown.request();
        },
        cancellation.token,
      );
      const seconds = (Date.now() - started) / 1000;
      this.facts = [
        result.model,
        deviceName(result.device, vscode.l10n.t),
        vscode.l10n.t('{0} s', formatSeconds(seconds)),
      ].join(' · ');
    } catch (error) {
      this.problem = failureOf(error, cancellation.token, this.deps.asking);
    } finally {
      cancellation.dispose();
      await journal?.settled();
      this.running = false;
      this.note = '';
      this.send(this.changedFrom, this.changedTo);
    }
  }

  private keep(index: number | undefined, outcome: PromptOutcome, journal: Journal | undefined): void {
    if (index === undefined) return;
    this.note = '';
    this.outcomes[index] = outcome;
    this.changedFrom = Math.min(this.changedFrom, index);
    this.changedTo = Math.max(this.changedTo, index + 1);
    journal?.append(this.chosen?.inputs[index]?.text ?? '', outcome);
  }

  /** Known only once the model has answered: the journal names it. */
  private startJournal(set: PromptSet, again: boolean): Journal | undefined {
    const journal = this.journal(set);
    const kept = this.chosen?.inputs.flatMap(({ text }, index) => {
      const outcome = this.outcomes[index];
      return outcome === undefined ? [] : [{ input: text, outcome }];
    });
    journal?.start(again ? [] : (kept ?? []));
    return journal;
  }

  private journal(set: PromptSet): Journal | undefined {
    const { storage, model } = this.deps;
    const name = model();
    if (storage === undefined || name === undefined || this.chosen === undefined) return undefined;
    const identity = { set, model: name, weights: 'int8', whenTooLong: WHEN_TOO_LONG } as const;
    return new Journal(storage, `${this.chosen.uri.toString()} ${this.chosen.column}`, identity);
  }

  /** The state, and the rows of a range; by default all that the page shows. */
  private send(from = 0, to?: number): void {
    const { chosen, outcomes } = this;
    const rows = (chosen?.inputs ?? [])
      .slice(from, Math.min(to ?? MOST_ROWS, MOST_ROWS))
      .map(({ text }, at): ManyRow => {
        const outcome = outcomes[from + at];
        return outcome === undefined ? { input: text } : { input: text, outcome: translatedOutcome(outcome) };
      });
    this.changedFrom = chosen?.inputs.length ?? 0;
    this.changedTo = 0;
    const answered = outcomes.filter((outcome) => outcome?.kind === 'answered').length;
    const failed = outcomes.filter((outcome) => outcome?.kind === 'failed').length;
    const state: ManyState = {
      running: this.running,
      note: this.note,
      done: answered + failed,
      failed,
      ...(this.ran === undefined ? {} : { ran: this.ran }),
      facts: this.facts,
      ...(chosen === undefined
        ? {}
        : {
            file: {
              name: chosen.name,
              columns: chosen.table.columns.length > 1 ? chosen.table.columns : [],
              column: chosen.column,
              count: chosen.inputs.length,
              skipped: chosen.skipped,
            },
          }),
      ...(this.problem === undefined ? {} : { problem: this.problem }),
    };
    this.deps.show(state, { whole: to === undefined, from, rows });
  }
}
