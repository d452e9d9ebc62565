/** `Run Prompt Set…` and its numbered slots: which set, and its answer to a text, for a thread under the selection. */
import * as vscode from 'vscode';
import {
  Method,
  type Progress,
  type PromptRunResult,
  type PromptSet,
  type RunPromptParams,
} from '../../server/protocol';
import type { KeptResult } from '../history/entry';
import { type Asking, keptPromptResult, modelChoice } from './asking';
import { chooseSet } from './dialogs';
import type { Entry, Library } from './library';
import type { Session } from './session';
import type { Slots } from './slots';

/** What a thread keeps of the set that it was asked by. */
export interface PromptsToRun {
  readonly id: string;
  readonly name: string;
}

export interface RunCommandDependencies {
  readonly asking: Asking;
  readonly library: Library;
  readonly session: Session;
  readonly slots: Slots;
  readonly create: () => Promise<void>;
  readonly show: (focus?: 'picker') => Promise<void>;
}

export class RunCommands {
  private readonly deps: RunCommandDependencies;

  constructor(deps: RunCommandDependencies) {
    this.deps = deps;
  }

  /** Undefined: the user declined, or went on to something else. */
  async choose(slot?: number): Promise<PromptsToRun | undefined> {
    const entry = slot === undefined ? await this.askWhatToRun() : await this.setInSlot(slot);
    if (entry === undefined) return undefined;
    if (entry.stored.kind === 'broken') {
      await this.deps.session.show(entry.info.id);
      await this.deps.show();
      return undefined;
    }
    return { id: entry.info.id, name: this.setOf(entry)?.name ?? entry.info.name };
  }

  /** Runs a set as it stands here, unsaved changes included. @throws when it is not there, or broken */
  async run(
    id: string,
    input: string,
    onProgress: (progress: Progress) => void,
    token: vscode.CancellationToken,
  ): Promise<KeptResult> {
    const entry = await this.deps.library.find(id);
    const set = entry === undefined ? undefined : this.setOf(entry);
    if (set === undefined) throw new Error(vscode.l10n.t('The prompt set is not there any more.'));
    const { server, settings } = this.deps.asking;
    const params: RunPromptParams = { set, input, whenTooLong: 'drop', ...modelChoice(settings()) };
    return keptPromptResult(
      await server.request<PromptRunResult, Progress>(Method.runPrompt, params, onProgress, token),
    );
  }

  /** With its unsaved changes. */
  private setOf({ info, stored }: Entry): PromptSet | undefined {
    return this.deps.session.draftOf(info.id) ?? (stored.kind === 'set' ? stored.set : undefined);
  }

  private async askWhatToRun(): Promise<Entry | undefined> {
    const title = vscode.l10n.t('Run Prompt Set');
    const current = this.deps.session.current?.info.id;
    const chosen = await chooseSet(this.deps.library, this.deps.slots, { title, current, forRunning: true });
    if (chosen?.create === true) await this.deps.create();
    if (chosen?.edit === true && chosen.entry !== undefined) {
      await this.deps.session.show(chosen.entry.info.id);
      await this.deps.show('picker');
      return undefined;
    }
    return chosen?.entry;
  }

  private async setInSlot(slot: number): Promise<Entry | undefined> {
    const id = this.deps.slots.in(slot);
    const entry = id === undefined ? undefined : await this.deps.library.find(id);
    if (entry !== undefined) return entry;
    const title = vscode.l10n.t('Slot {0} is free: choose a prompt set for it', slot);
    const chosen = await chooseSet(this.deps.library, this.deps.slots, { title, forRunning: false });
    if (chosen?.create === true) await this.deps.create();
    if (chosen?.entry === undefined) return undefined;
    await this.deps.slots.assign(chosen.entry.info, slot);
    this.deps.session.touch();
    return chosen.entry;
  }
}
