/** What the buttons of the page and the commands of the palette do. */
import * as vscode from 'vscode';
import { loadBaseline } from '../../server/prompts/store';
import { parseTable } from '../../server/prompts/table';
import type { Example, PromptSet } from '../../server/protocol';
import type { Checker } from './checker';
import { askName, askShelf, askSlot, chooseSet, confirmDelete, newSet } from './dialogs';
import type { Entry, Library } from './library';
import type { Many } from './many';
import type { AnswerMode, PanelAction, ToPage } from './messages';
import { Results } from './results';
import type { Runner } from './runner';
import { examplesInText } from './selected';
import type { SelectionWatch } from './selection';
import type { Session } from './session';
import type { Slots } from './slots';
import { examplesOf, readTable } from './tables';

export interface ActionDependencies {
  readonly library: Library;
  readonly session: Session;
  readonly slots: Slots;
  readonly selection: SelectionWatch;
  readonly runner: Runner;
  readonly many: Many;
  readonly checker: Checker;
  readonly post: (message: ToPage) => void;
  readonly show: (focus?: 'run' | 'picker') => Promise<void>;
}

export class Actions {
  private readonly deps: ActionDependencies;
  private readonly results: Results;

  constructor(deps: ActionDependencies) {
    this.deps = deps;
    this.results = new Results(deps);
  }

  async act(action: PanelAction): Promise<void> {
    const { session, runner, many, checker } = this.deps;
    const { set } = session;
    switch (action) {
      case 'choose':
        return this.choose();
      case 'create':
        return this.create();
      case 'save':
        return session.save();
      case 'revert':
        return session.revert();
      case 'useFile':
        session.revert();
        return session.show(session.current?.info.id);
      case 'keepEdit':
        return session.keepMine();
      case 'rename':
        return this.rename();
      case 'duplicate':
        return this.duplicate();
      case 'delete':
        return this.remove();
      case 'openFile':
        return this.openFile();
      case 'move':
        return this.move();
      case 'slot':
        return this.slot();
      case 'pasteTable':
        return this.addPasted(await vscode.env.clipboard.readText());
      case 'importFile':
        return this.importFile();
      case 'addSelection':
        return this.useSelection('example');
      case 'stop':
        return runner.stop();
      case 'chooseFile':
        return this.chooseFile();
      case 'runMany':
      case 'resumeMany':
        return set === undefined ? undefined : many.run(set, action === 'runMany');
      case 'cancelMany':
        return many.cancel();
      case 'exportMany':
        return this.results.export();
      case 'check':
        return set === undefined ? undefined : checker.run(set);
      case 'cancelCheck':
        return checker.stop();
      case 'keepBaseline':
        return this.results.keepBaseline();
      case 'forgetBaseline':
        return this.results.forgetBaseline();
    }
  }

  /** `text`: for `selection` empty, but when the same selection is run again. */
  async run(mode: AnswerMode, text: string, drop: boolean): Promise<void> {
    const { session, selection, runner } = this.deps;
    const input = mode === 'selection' && text === '' ? selection.text : text;
    if (session.set !== undefined && input.trim() !== '') {
      await runner.run(session.set, mode, input, drop ? 'drop' : 'refuse');
    }
  }

  /** Makes sure that a set is open, then adds to it what is selected. */
  async useSelection(use: 'input' | 'output' | 'example'): Promise<void> {
    const { selection, session, post, show } = this.deps;
    // Read before the view takes the focus.
    const { texts, text } = selection;
    if (text === '') {
      void vscode.window.showInformationMessage(vscode.l10n.t('Select the text that is to be used.'));
      return;
    }
    if (session.set === undefined) {
      await this.choose();
      if (session.set === undefined) return;
    }
    await show();
    if (use !== 'example') {
      post({ kind: 'fill', side: use, text });
      return;
    }
    const examples = await this.examplesFrom(texts, session.set);
    if (examples !== undefined) post({ kind: 'add', examples });
  }

  fillFromSelection(side: 'input' | 'output', key: number): void {
    const { selection, post } = this.deps;
    if (selection.text !== '') post({ kind: 'fill', side, text: selection.text, key });
  }

  /** A table from the clipboard or a paste. */
  async addPasted(text: string): Promise<void> {
    if (text.trim() === '') {
      void vscode.window.showInformationMessage(
        vscode.l10n.t('The clipboard is empty. Copy two columns of a table, inputs and outputs, and try again.'),
      );
      return;
    }
    const examples = await examplesOf(parseTable(text));
    if (examples !== undefined) this.deps.post({ kind: 'add', examples });
  }

  /** What belongs to the open set besides itself. */
  async recall(): Promise<void> {
    const { session, checker, many } = this.deps;
    const { current, set } = session;
    if (current === undefined || set === undefined) return;
    checker.setBaseline(await loadBaseline(current.shelf.files, current.file));
    await many.recall(set);
  }

  /** Several selections are inputs and outputs in turn; one is a table, labelled lines, or an input. */
  private async examplesFrom(texts: readonly string[], set: PromptSet): Promise<readonly Example[] | undefined> {
    if (texts.length > 1 && texts.length % 2 === 0) {
      return texts.flatMap((input, at) => (at % 2 === 0 ? [{ input, output: texts[at + 1] ?? '' }] : []));
    }
    const text = texts.join('\n');
    const found = examplesInText(text, set.form);
    if (found === undefined) return [{ input: text.trim(), output: '' }];
    return 'columns' in found ? examplesOf(found) : found;
  }

  private async choose(): Promise<void> {
    const { library, slots, session } = this.deps;
    const current = session.current?.info.id;
    const title = vscode.l10n.t('Prompt Sets');
    const chosen = await chooseSet(library, slots, { title, current, forRunning: false });
    if (chosen?.create === true) await this.create();
    else if (chosen?.entry !== undefined) await session.show(chosen.entry.info.id);
  }

  private async create(): Promise<void> {
    const { library, session, show } = this.deps;
    const set = await newSet();
    if (set === undefined) return;
    const shelf = await askShelf(library.shelves, vscode.l10n.t('New Prompt Set'));
    if (shelf === undefined) return;
    await session.show(await library.create(shelf, set));
    await show('picker');
  }

  /** The open set with its changes saved; undefined when there is none, or it is broken. */
  private async saved(): Promise<Entry | undefined> {
    await this.deps.session.save();
    const { current } = this.deps.session;
    return current?.stored.kind === 'set' ? current : undefined;
  }

  private async rename(): Promise<void> {
    const { library, session, slots } = this.deps;
    const entry = await this.saved();
    if (entry === undefined) return;
    const name = await askName(vscode.l10n.t('Rename Prompt Set'), entry.info.name);
    if (name === undefined || name === entry.info.name) return;
    const id = await library.rename(entry, name);
    await slots.follow(entry.info.id, { id, scope: entry.shelf.scope });
    await session.show(id);
  }

  private async duplicate(): Promise<void> {
    const entry = await this.saved();
    if (entry !== undefined) await this.deps.session.show(await this.deps.library.duplicate(entry));
  }

  private async remove(): Promise<void> {
    const { library, session, slots } = this.deps;
    const { current } = session;
    if (current === undefined || !(await confirmDelete(current))) return;
    await session.show(undefined);
    session.forget(current.info.id);
    await slots.assign(current.info, undefined);
    await library.remove(current);
  }

  private async openFile(): Promise<void> {
    const { library, session } = this.deps;
    const { current } = session;
    const uri = current === undefined ? undefined : library.uriOf(current);
    if (uri === undefined || current === undefined) return;
    const line = current.stored.kind === 'broken' ? current.stored.error.line - 1 : 0;
    await vscode.window.showTextDocument(uri, { selection: new vscode.Range(line, 0, line, 0) });
  }

  private async move(): Promise<void> {
    const { library, session, slots } = this.deps;
    const entry = await this.saved();
    if (entry?.stored.kind !== 'set') return;
    const others = library.shelves.filter(({ id }) => id !== entry.shelf.id);
    if (others.length === 0) {
      void vscode.window.showInformationMessage(vscode.l10n.t('Open a folder to keep prompt sets in it.'));
      return;
    }
    const shelf = await askShelf(others, vscode.l10n.t('Move “{0}”', entry.info.name));
    if (shelf === undefined) return;
    const id = await library.create(shelf, entry.stored.set);
    await slots.follow(entry.info.id, { id, scope: shelf.scope });
    await library.remove(entry);
    await session.show(id);
  }

  private async slot(): Promise<void> {
    const { library, session, slots } = this.deps;
    const { current } = session;
    if (current === undefined) return;
    const choice = await askSlot(current, library, slots);
    if (choice === undefined) return;
    if ('keys' in choice) {
      const command = `flan.runPromptSet${choice.keys}`;
      await vscode.commands.executeCommand('workbench.action.openGlobalKeybindings', `@command:${command}`);
      return;
    }
    await slots.assign(current.info, choice.slot);
    session.touch();
  }

  private async importFile(): Promise<void> {
    const [uri] = (await vscode.window.showOpenDialog(tableDialog(vscode.l10n.t('Import Examples')))) ?? [];
    if (uri === undefined) return;
    const examples = await examplesOf((await readTable(uri)).table);
    if (examples !== undefined) this.deps.post({ kind: 'add', examples });
  }

  private async chooseFile(): Promise<void> {
    const [uri] = (await vscode.window.showOpenDialog(tableDialog(vscode.l10n.t('Choose Inputs')))) ?? [];
    if (uri !== undefined) await this.deps.many.choose(uri, this.deps.session.set);
  }
}

function tableDialog(title: string): vscode.OpenDialogOptions {
  return {
    title,
    canSelectMany: false,
    filters: {
      [vscode.l10n.t('Tables and texts')]: ['csv', 'tsv', 'tab', 'jsonl', 'ndjson', 'json', 'txt', 'md', 'log'],
      [vscode.l10n.t('All files')]: ['*'],
    },
  };
}
