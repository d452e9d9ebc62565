import * as vscode from 'vscode';
import type { EngineChoice, ModelInfo } from '../server/protocol';
import type { Server } from './client';
import { shortCount, size } from './install/words';
import { type Settings, writeSetting } from './settings';

interface ModelItem extends vscode.QuickPickItem {
  /** Written to `flan.model`; empty: the server's own choice. */
  readonly value?: string;
  readonly browse?: boolean;
  /** Leads to another command. */
  readonly command?: string;
}

/** Lets the user choose among the installed models, or a folder; loads the choice. */
export async function chooseModel(server: Server, settings: () => Settings): Promise<void> {
  const chosen = settings().model;
  const items = server.models().then((models) => modelItems(models, chosen));
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Choose the Model'),
    placeHolder: vscode.l10n.t('All windows of this machine share one loaded model'),
    matchOnDescription: true,
    matchOnDetail: true,
  });
  if (picked === undefined) return;
  if (picked.command !== undefined) {
    await vscode.commands.executeCommand(picked.command);
    return;
  }
  const value = picked.browse === true ? await pickFolder() : picked.value;
  if (value === undefined) return;
  await writeSetting('model', value);
  await loadModel(server, settings);
}

/** Makes an installed model the one of the settings, and loads it. */
export async function chooseInstalled(server: Server, settings: () => Settings, name: string): Promise<void> {
  await writeSetting('model', name);
  await loadModel(server, settings);
}

/** Loads the model of the settings now, so that the first question does not wait for it. */
export async function loadModel(server: Server, settings: () => Settings): Promise<void> {
  const { model, engine } = settings();
  await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: 'Flan' }, () =>
    server.load({ engine, ...(model === undefined ? {} : { model }) }),
  );
}

interface EngineItem extends vscode.QuickPickItem {
  readonly engine: EngineChoice;
}

export async function chooseEngine(server: Server, settings: () => Settings): Promise<void> {
  const current = settings().engine;
  const items: EngineItem[] = [
    engineItem('auto', vscode.l10n.t('The fastest that this machine has and the model fits')),
    engineItem('cuda', vscode.l10n.t('NVIDIA GPUs')),
    engineItem('webgpu', vscode.l10n.t('GPUs of any vendor')),
    engineItem('cpu', vscode.l10n.t('Works everywhere, slow with large models')),
  ].map((item) => ({ ...item, label: `$(${item.engine === current ? 'check' : 'blank'}) ${item.label}` }));
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Choose the Engine'),
    matchOnDescription: true,
  });
  if (picked === undefined) return;
  await writeSetting('engine', picked.engine);
  await loadModel(server, settings);
}

function engineItem(engine: EngineChoice, description: string): EngineItem {
  return { engine, label: engine, description };
}

function modelItems(models: readonly ModelInfo[], chosen: string | undefined): ModelItem[] {
  const automatic: ModelItem = {
    label: `$(${chosen === undefined ? 'check' : 'blank'}) ${vscode.l10n.t('Automatic')}`,
    description: vscode.l10n.t('the best installed model'),
    value: '',
  };
  const installed = models.map((model): ModelItem => {
    const isChosen = model.name === chosen || model.dir === chosen;
    return {
      label: `$(${isChosen ? 'check' : 'blank'}) ${model.name}`,
      description: facts(model),
      detail: model.dir,
      value: model.name,
    };
  });
  const browse: ModelItem = { label: `$(folder-opened) ${vscode.l10n.t('Choose a Folder…')}`, browse: true };
  const separator: ModelItem = { label: '', kind: vscode.QuickPickItemKind.Separator };
  const install: ModelItem = {
    label: `$(cloud-download) ${vscode.l10n.t('Install a Model…')}`,
    command: 'flan.installModel',
  };
  const remove: ModelItem = { label: `$(trash) ${vscode.l10n.t('Remove a Model…')}`, command: 'flan.removeModel' };
  const removable = models.some(({ demo }) => !demo);
  return [automatic, ...installed, separator, install, browse, ...(removable ? [remove] : [])];
}

function facts(model: ModelInfo): string {
  const parts = [vscode.l10n.t('{0} parameters', shortCount(model.parameters)), size(model.bytes)];
  if (model.form === 'original') parts.push(vscode.l10n.t('converted at the first use'));
  if (model.demo) parts.push(vscode.l10n.t('demonstration model'));
  return parts.join(' · ');
}

async function pickFolder(): Promise<string | undefined> {
  const folders = await vscode.window.showOpenDialog({
    canSelectFiles: false,
    canSelectFolders: true,
    canSelectMany: false,
    openLabel: vscode.l10n.t('Use This Model'),
    title: vscode.l10n.t('A folder with config.json, a tokenizer and the weights'),
  });
  return folders?.[0]?.fsPath;
}
