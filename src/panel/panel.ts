/**
 * The prompt-set view: its parts, and who hears of what. This is a bundle of its own (`dist/panel.js`), loaded when the
 * view is shown or one of its commands is used.
 */
import * as vscode from 'vscode';
import type { Server } from '../client';
import { messageOf } from '../errors';
import type { KeptResult } from '../history/entry';
import type { Settings } from '../settings';
import { Actions } from './actions';
import type { Asking } from './asking';
import { Checker } from './checker';
import { Counter } from './counter';
import { Drafts } from './drafts';
import { pageHtml } from './html';
import { Library } from './library';
import { Many } from './many';
import type { FromPage, RunMode, ToPage } from './messages';
import { type PromptsToRun, RunCommands } from './runcommands';
import { Runner } from './runner';
import { SelectionWatch } from './selection';
import { Session } from './session';
import { Slots } from './slots';

export interface PanelDependencies {
  readonly context: vscode.ExtensionContext;
  readonly server: Server;
  readonly settings: () => Settings;
  readonly log: vscode.LogOutputChannel;
  readonly viewId: string;
}

export function createPanel(deps: PanelDependencies): Panel {
  return new Panel(deps);
}

export type SelectionUse = 'input' | 'output' | 'example';

export class Panel implements vscode.Disposable {
  private readonly deps: PanelDependencies;
  private readonly library: Library;
  private readonly slots: Slots;
  private readonly drafts: Drafts;
  private readonly session: Session;
  private readonly selection = new SelectionWatch();
  private readonly counter: Counter;
  private readonly runner: Runner;
  private readonly many: Many;
  private readonly checker: Checker;
  private readonly actions: Actions;
  private readonly commands: RunCommands;
  private readonly subscriptions: vscode.Disposable[] = [];
  private view: vscode.WebviewView | undefined;
  private query: { readonly mode: RunMode; readonly text: string } = { mode: 'text', text: '' };
  private model: string | undefined;
  /** Messages that wait for the page to be there. */
  private waiting: ToPage[] = [];
  private pageReady = false;
  private readonly restored: Promise<void>;

  constructor(deps: PanelDependencies) {
    this.deps = deps;
    const { context, server, settings, log } = deps;
    const asking: Asking = { server, settings, log };
    this.library = new Library(context);
    this.slots = new Slots(context);
    // Without a folder there is no storage of the workspace.
    const storage = (context.storageUri ?? context.globalStorageUri).fsPath;
    this.drafts = new Drafts(storage, (error) => {
      log.error(`Unsaved prompt sets: ${messageOf(error)}`);
      void vscode.window.showWarningMessage(
        vscode.l10n.t('Unsaved changes of prompt sets cannot be kept: {0}', messageOf(error)),
      );
    });
    this.session = new Session({
      library: this.library,
      slots: this.slots,
      drafts: this.drafts,
      state: context.workspaceState,
    });
    this.counter = new Counter(asking, (counted) => {
      const known = this.model;
      this.model = counted.count?.model ?? this.model;
      // A journal is of a set and a model: only now can it be known.
      if (known !== this.model && this.session.set !== undefined) void this.many.recall(this.session.set);
      this.post({ kind: 'count', count: counted.count, ...(counted.message === undefined ? {} : counted) });
    });
    this.runner = new Runner(asking, (answer) => this.post({ kind: 'answer', answer }));
    this.checker = new Checker(asking, (check) => this.post({ kind: 'check', check }));
    this.many = new Many({
      asking,
      state: context.workspaceState,
      storage: context.storageUri,
      show: (many, rows) => this.post({ kind: 'many', many, rows }),
      model: () => this.model,
    });
    this.actions = new Actions({
      library: this.library,
      session: this.session,
      slots: this.slots,
      selection: this.selection,
      runner: this.runner,
      many: this.many,
      checker: this.checker,
      post: (message) => this.post(message),
      show: (focus) => this.reveal(focus),
    });
    this.commands = new RunCommands({
      asking,
      library: this.library,
      session: this.session,
      slots: this.slots,
      create: () => this.actions.act('create'),
      show: (focus) => this.reveal(focus),
    });
    this.subscriptions.push(
      this.library,
      this.session,
      this.selection,
      this.library.onDidChange(() => void this.filesChanged()),
      this.session.onDidChange(({ replace }) => void this.setChanged(replace)),
      this.selection.onDidChange(() => this.sendSelection()),
      vscode.workspace.onDidChangeConfiguration((change) => {
        if (change.affectsConfiguration('flan.model')) this.count();
      }),
    );
    this.restored = this.session.restore();
  }

  dispose(): void {
    this.drafts.dispose();
    this.counter.dispose();
    this.runner.dispose();
    this.many.dispose();
    this.checker.dispose();
    for (const subscription of this.subscriptions.splice(0)) subscription.dispose();
  }

  /** The editor shows the view, for the first time or again. */
  attach(view: vscode.WebviewView): void {
    const root = vscode.Uri.joinPath(this.deps.context.extensionUri, 'dist', 'panel');
    this.view = view;
    this.pageReady = false;
    view.webview.options = { enableScripts: true, localResourceRoots: [root] };
    view.webview.onDidReceiveMessage((message: FromPage) => void this.receive(message));
    view.onDidDispose(() => {
      if (this.view !== view) return;
      this.view = undefined;
      this.pageReady = false;
    });
    view.onDidChangeVisibility(() => {
      // The editor throws the page away while nobody sees it; a new one says when it is ready.
      if (!view.visible) this.pageReady = false;
    });
    view.webview.html = pageHtml(view.webview, root);
  }

  act(action: Parameters<Actions['act']>[0]): Promise<void> {
    return this.guarded(async () => {
      await this.restored;
      await this.actions.act(action);
    });
  }

  /** A command in the editor: the selection becomes a part of an example. */
  useSelection(use: SelectionUse): Promise<void> {
    return this.guarded(async () => {
      await this.restored;
      await this.actions.useSelection(use);
    });
  }

  /** For `Run Prompt Set…` and its slots. Undefined: the user declined, or went on to something else. */
  async chooseToRun(slot?: number): Promise<PromptsToRun | undefined> {
    await this.restored;
    return this.commands.choose(slot);
  }

  /** Runs a set as it stands here, unsaved changes included. @throws when it is not there, or broken */
  async runSet(...what: Parameters<RunCommands['run']>): Promise<KeptResult> {
    await this.restored;
    return this.commands.run(...what);
  }

  private async receive(message: FromPage): Promise<void> {
    await this.guarded(async () => {
      switch (message.kind) {
        case 'ready':
          await this.welcome();
          break;
        case 'action':
          await this.actions.act(message.action);
          break;
        case 'open':
          await this.session.show(message.id);
          break;
        case 'edit':
          this.session.edit(message.id, message.set);
          this.count();
          break;
        case 'query':
          this.query = message;
          this.count();
          break;
        case 'run':
          await this.actions.run(message.mode, message.text, message.drop);
          break;
        case 'fillFromSelection':
          this.actions.fillFromSelection(message.side, message.key);
          break;
        case 'column':
          await this.many.chooseColumn(message.column, this.session.set);
          this.count();
          break;
        case 'copy':
          await vscode.env.clipboard.writeText(message.text);
          vscode.window.setStatusBarMessage(vscode.l10n.t('The answer was copied.'), 2000);
          break;
        case 'pasted':
          await this.actions.addPasted(message.text);
          break;
      }
    });
  }

  /** A page that was just made knows nothing. */
  private async welcome(): Promise<void> {
    await this.restored;
    // Undefined in English.
    const words = vscode.l10n.bundle ?? {};
    this.pageReady = true;
    this.post({ kind: 'hello', words, language: vscode.env.language });
    await this.sendSets();
    this.post({ kind: 'open', open: this.session.open, replace: true });
    this.sendSelection();
    this.post({ kind: 'answer', answer: this.runner.state });
    this.post({ kind: 'check', check: this.checker.state });
    this.many.showAll();
    for (const message of this.waiting.splice(0)) this.post(message);
    this.count();
    await this.many.restore(this.session.set);
  }

  private async filesChanged(): Promise<void> {
    await this.guarded(async () => {
      await this.session.refresh();
      await this.sendSets();
    });
  }

  private opened: string | undefined;

  private async setChanged(replace: boolean): Promise<void> {
    const { open } = this.session;
    const other = open?.info.id !== this.opened;
    this.opened = open?.info.id;
    if (other) {
      this.runner.clear();
      this.checker.clear();
      this.many.clear();
    }
    this.post({ kind: 'open', open, replace });
    const { executeCommand } = vscode.commands;
    void executeCommand('setContext', 'flan.prompts.open', open !== undefined);
    void executeCommand('setContext', 'flan.prompts.inWorkspace', open?.info.scope === 'workspace');
    if (this.view !== undefined) this.view.description = open?.dirty === true ? '●' : '';
    this.count();
    if (other) await this.guarded(() => this.actions.recall());
  }

  private async sendSets(): Promise<void> {
    const sets = (await this.library.list()).map(({ info }) => info);
    this.post({ kind: 'sets', sets, workspace: this.library.shelves.length > 1 });
  }

  private sendSelection(): void {
    this.post({ kind: 'selection', selection: this.selection.info });
    if (this.query.mode === 'selection') this.count();
  }

  private count(): void {
    const { mode, text } = this.query;
    const input = mode === 'text' ? text : mode === 'selection' ? this.selection.text : this.many.longest;
    // Nobody sees it: then no server need be asked, nor started.
    if (this.view?.visible === true && this.pageReady) this.counter.request(this.session.set, input);
  }

  /** Shows the view; what is to have the focus there. */
  private async reveal(focus?: 'run' | 'picker'): Promise<void> {
    await vscode.commands.executeCommand(`${this.deps.viewId}.focus`);
    if (focus !== undefined) this.post({ kind: 'focus', where: focus });
  }

  private post(message: ToPage): void {
    if (this.pageReady && this.view !== undefined) void this.view.webview.postMessage(message);
    // States are sent anew to a new page; what happens once must wait for it.
    else if (message.kind === 'add' || message.kind === 'fill' || message.kind === 'focus') this.waiting.push(message);
  }

  private async guarded(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      this.deps.log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
      void vscode.window.showErrorMessage(messageOf(error));
    }
  }
}
