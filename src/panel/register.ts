/**
 * The prompt-set view and its commands. What they do is in a bundle of its own (`dist/panel.js`), loaded when the view is
 * shown or one of them is used: the editor's start does not pay for it.
 */
import * as vscode from 'vscode';
import type { Server } from '../client';
import type { Settings } from '../settings';
import type { PanelAction } from './messages';
import type { Panel } from './panel';

export const VIEW_ID = 'flan.prompts';

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

export function registerPrompts(deps: PromptDependencies): vscode.Disposable {
  let panel: Promise<Panel> | undefined;
  const load = (): Promise<Panel> => {
    panel ??= import('./panel').then(({ createPanel }) => createPanel({ ...deps, viewId: VIEW_ID }));
    return panel;
  };
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    vscode.window.registerWebviewViewProvider(VIEW_ID, {
      resolveWebviewView: async (view) => (await load()).attach(view),
    }),
    ...Object.entries(ACTIONS).map(([command, action]) =>
      registerCommand(command, async () => (await load()).act(action)),
    ),
    registerCommand('flan.useSelectionAsInput', async () => (await load()).useSelection('input')),
    registerCommand('flan.useSelectionAsOutput', async () => (await load()).useSelection('output')),
    registerCommand('flan.useSelectionAsExample', async () => (await load()).useSelection('example')),
    new vscode.Disposable(() => void panel?.then((loaded) => loaded.dispose())),
  );
}
