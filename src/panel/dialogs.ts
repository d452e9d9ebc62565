/** Questions to the user that the editor has its own boxes for. Every one resolves to undefined when it is dismissed. */
import * as vscode from 'vscode';
import { MAX_NAME_CHARS } from '../../server/prompts/file';
import { gallery } from '../../server/prompts/gallery';
import { newPromptSet } from '../../server/prompts/set';
import type { PromptSet } from '../../server/protocol';
import type { Entry, Library, Shelf } from './library';
import { SLOTS, type Slots } from './slots';

interface SetItem extends vscode.QuickPickItem {
  readonly entry?: Entry;
}

export interface Chosen {
  readonly entry?: Entry;
  /** The user wants a new one, or to edit the chosen one. */
  readonly create?: boolean;
  readonly edit?: boolean;
}

/** All sets, by place. `forRunning`: a button on each opens it for editing. */
export async function chooseSet(
  library: Library,
  slots: Slots,
  options: { readonly title: string; readonly current?: string | undefined; readonly forRunning: boolean },
): Promise<Chosen | undefined> {
  const entries = await library.list();
  const create: SetItem = { label: `$(add) ${vscode.l10n.t('New Prompt Set…')}`, alwaysShow: true };
  const edit: vscode.QuickInputButton = {
    iconPath: new vscode.ThemeIcon('edit'),
    tooltip: vscode.l10n.t('Edit'),
  };
  const items: SetItem[] = [];
  for (const shelf of library.shelves) {
    const here = entries.filter((entry) => entry.shelf.id === shelf.id);
    if (here.length === 0) continue;
    items.push({ label: shelfLabel(shelf), kind: vscode.QuickPickItemKind.Separator });
    items.push(...here.map((entry) => setItem(entry, slots, options.forRunning ? [edit] : [])));
  }
  items.push({ label: '', kind: vscode.QuickPickItemKind.Separator }, create);
  const pick = vscode.window.createQuickPick<SetItem>();
  pick.title = options.title;
  pick.placeholder = vscode.l10n.t('Choose a prompt set');
  pick.matchOnDescription = true;
  pick.matchOnDetail = true;
  pick.items = items;
  const active = items.find(({ entry }) => entry !== undefined && entry.info.id === options.current);
  if (active !== undefined) pick.activeItems = [active];
  return new Promise((resolve) => {
    pick.onDidTriggerItemButton(({ item }) => {
      resolve(item.entry === undefined ? undefined : { entry: item.entry, edit: true });
      pick.dispose();
    });
    pick.onDidAccept(() => {
      const [item] = pick.activeItems;
      if (item === undefined) return;
      resolve(item.entry === undefined ? { create: true } : { entry: item.entry });
      pick.dispose();
    });
    pick.onDidHide(() => {
      resolve(undefined);
      pick.dispose();
    });
    pick.show();
  });
}

function setItem(entry: Entry, slots: Slots, buttons: readonly vscode.QuickInputButton[]): SetItem {
  const { info, stored } = entry;
  const slot = slots.of(info.id);
  const description = [
    slot === undefined ? undefined : vscode.l10n.t('Slot {0}', slot),
    stored.kind === 'set' ? examplesText(stored.set) : info.path,
  ];
  const detail = stored.kind === 'set' ? stored.set.description?.split('\n', 1)[0] : info.broken;
  return {
    label: `$(${stored.kind === 'set' ? 'symbol-snippet' : 'error'}) ${info.name}`,
    description: description.filter((part) => part !== undefined).join(' · '),
    ...(detail === undefined || detail === '' ? {} : { detail }),
    buttons,
    entry,
  };
}

function examplesText({ examples }: PromptSet): string {
  return examples.length === 1 ? vscode.l10n.t('1 example') : vscode.l10n.t('{0} examples', examples.length);
}

function shelfLabel({ scope, label }: Shelf): string {
  return scope === 'profile' ? vscode.l10n.t('Profile') : vscode.l10n.t('Workspace: {0}', label);
}

/** An empty set, or one of the gallery, with the user's name for it. */
export async function newSet(): Promise<PromptSet | undefined> {
  const chinese = vscode.env.language.toLowerCase().startsWith('zh');
  const items = [
    {
      label: `$(add) ${vscode.l10n.t('Empty')}`,
      description: vscode.l10n.t('an instruction and examples of your own'),
      set: newPromptSet(''),
    },
    { label: vscode.l10n.t('From the gallery'), kind: vscode.QuickPickItemKind.Separator },
    ...gallery().map(({ set, chinese: own }) => {
      const { name, description = '' } = chinese ? own : set;
      return {
        label: `$(symbol-snippet) ${name}`,
        description: examplesText(set),
        detail: description,
        set: { ...set, name, description },
      };
    }),
  ];
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('New Prompt Set'),
    placeHolder: vscode.l10n.t('What should it begin with?'),
    matchOnDetail: true,
  });
  if (picked === undefined || !('set' in picked)) return undefined;
  const name = await askName(vscode.l10n.t('New Prompt Set'), picked.set.name);
  return name === undefined ? undefined : { ...picked.set, name };
}

export async function askName(title: string, value: string): Promise<string | undefined> {
  const name = await vscode.window.showInputBox({
    title,
    value,
    prompt: vscode.l10n.t('The name of the prompt set'),
    placeHolder: vscode.l10n.t('For example: Classify a log line'),
    validateInput: (text) => {
      if (text.trim() === '') return vscode.l10n.t('A prompt set needs a name.');
      return text.length > MAX_NAME_CHARS ? vscode.l10n.t('A shorter name, please.') : undefined;
    },
  });
  return name?.trim();
}

/** Asks only where there is a choice. */
export async function askShelf(shelves: readonly Shelf[], title: string): Promise<Shelf | undefined> {
  const [only] = shelves;
  if (shelves.length === 1) return only;
  const items = shelves.map((shelf) => ({
    label: `$(${shelf.scope === 'profile' ? 'account' : 'folder'}) ${shelfLabel(shelf)}`,
    description:
      shelf.scope === 'profile'
        ? vscode.l10n.t('yours alone, in every folder; settings sync carries it along')
        : vscode.l10n.t('a file in .flan/prompts, shared and reviewed like code'),
    shelf,
  }));
  return (await vscode.window.showQuickPick(items, { title, placeHolder: vscode.l10n.t('Where to keep it') }))?.shelf;
}

export type SlotChoice = { readonly slot: number | undefined } | { readonly keys: number };

/** A slot, none, or the wish to bind a key to the one that it has. */
export async function askSlot(entry: Entry, library: Library, slots: Slots): Promise<SlotChoice | undefined> {
  const names = new Map((await library.list()).map(({ info }) => [info.id, info.name]));
  const own = slots.of(entry.info.id);
  interface Item extends vscode.QuickPickItem {
    readonly choice?: SlotChoice;
  }
  const items: Item[] = [];
  if (own !== undefined) {
    items.push(
      { label: `$(keyboard) ${vscode.l10n.t('Bind a Key to Slot {0}…', own)}`, choice: { keys: own } },
      { label: `$(close) ${vscode.l10n.t('Take It Out of Slot {0}', own)}`, choice: { slot: undefined } },
      { label: '', kind: vscode.QuickPickItemKind.Separator },
    );
  }
  for (const slot of SLOTS) {
    const taken = slots.in(slot);
    items.push({
      label: `$(symbol-number) ${vscode.l10n.t('Slot {0}', slot)}`,
      description: taken === undefined ? vscode.l10n.t('free') : (names.get(taken) ?? vscode.l10n.t('free')),
      choice: { slot },
    });
  }
  const title = vscode.l10n.t('A slot for {0}', entry.info.name);
  const placeHolder = vscode.l10n.t('The command “Run Prompt Set in Slot …” runs it; a key can be bound to that');
  return (await vscode.window.showQuickPick(items, { title, placeHolder }))?.choice;
}

export async function confirmDelete(entry: Entry): Promise<boolean> {
  const action = vscode.l10n.t('Delete');
  const detail =
    entry.shelf.scope === 'profile'
      ? vscode.l10n.t('It is taken out of your profile. This cannot be undone.')
      : vscode.l10n.t('Its file {0} is deleted.', entry.info.path);
  const question = vscode.l10n.t('Delete the prompt set “{0}”?', entry.info.name);
  return (await vscode.window.showWarningMessage(question, { modal: true, detail }, action)) === action;
}
