/**
 * The prompt-set view and its commands. What they do is in a bundle of its own (`dist/panel.js`), loaded when the view is
 * shown or one of them is used: the editor's start does not pay for it.
 */
import * as vscode from 'vscode';
import type { Progress } from '../../server/protocol';
import type { Answers } from '../answers';
import type { Server } from '../client';
import { answerEach } from '../commands';
import type { KeptResult } from '../history/entry';
import { sourcesToRead } from '../reading';
import type { Settings } from '../settings';
import type { Texts } from '../texts';
import type { PanelAction } from './messages';
import type { Panel, SelectionUse } from './panel';
import { SYNCED_KEYS } from './profile';

export const VIEW_ID = 'flan.prompts';

const USES: Readonly<Record<string, SelectionUse>> = {
  'flan.useSelectionAsInput': 'input',
  'flan.useSelectionAsOutput': 'output',
  'flan.useSelectionAsExample': 'example',
};

export interface PromptDependencies {
  readonly context: vscode.ExtensionContext;
  readonly server: Server;
  readonly settings: () => Settings;
  readonly log: vscode.LogOutputChannel;
}

/** Commands of the view's title and of the palette, and the action of the page that each of them is. */
const ACTIONS: Readonly<Record<string, PanelAction>> = {
  'flan.prompts.choose': 'choose',
  'flan.prompts.create': 'create',
  'flan.prompts.save': 'save',
  'flan.prompts.rename': 'rename',
  'flan.prompts.duplicate': 'duplicate',
  'flan.prompts.delete': 'delete',
  'flan.prompts.openFile': 'openFile',
  'flan.prompts.move': 'move',
  'flan.prompts.slot': 'slot',
};

const SLOTS = [1, 2, 3, 4, 5, 6, 7, 8, 9] as const;

export class Prompts implements vscode.Disposable {
  private readonly deps: PromptDependencies;
  private panel: Promise<Panel> | undefined;

  constructor(deps: PromptDependencies) {
    this.deps = deps;
  }

  /** Runs the set with this id, as it stands now, on a text. @throws when it is not there any more */
  async run(
    id: string,
    text: string,
    onProgress: (progress: Progress) => void,
    token: vscode.CancellationToken,
  ): Promise<KeptResult> {
    return (await this.load()).runSet(id, text, onProgress, token);
  }

  register(answers: Answers, texts: Texts): vscode.Disposable {
    const { registerCommand } = vscode.commands;
    // At every start: a version of the extension that has not said it yet would have nothing synchronized.
    this.deps.context.globalState.setKeysForSync(SYNCED_KEYS);
    const runOnSelection = async (slot?: number): Promise<void> => {
      const prompts = await (await this.load()).chooseToRun(slot);
      if (prompts === undefined) return;
      await answerEach(answers, await sourcesToRead('generate', texts), { task: 'generate', prompts });
    };
    return vscode.Disposable.from(
      vscode.window.registerWebviewViewProvider(VIEW_ID, {
        resolveWebviewView: async (view) => (await this.load()).attach(view),
      }),
      ...Object.entries(ACTIONS).map(([command, action]) =>
        registerCommand(command, async () => (await this.load()).act(action)),
      ),
      ...Object.entries(USES).map(([command, use]) =>
        registerCommand(command, async () => (await this.load()).useSelection(use)),
      ),
      registerCommand('flan.runPromptSet', () => runOnSelection()),
      ...SLOTS.map((slot) => registerCommand(`flan.runPromptSet${slot}`, () => runOnSelection(slot))),
    );
  }

  dispose(): void {
    void this.panel?.then((panel) => panel.dispose());
  }

  private load(): Promise<Panel> {
    this.panel ??= import('./panel').then(({ createPanel }) => createPanel({ ...this.deps, viewId: VIEW_ID }));
    return this.panel;
  }
}
