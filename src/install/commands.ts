/** The commands that bring models onto this machine and take them away again. */
import * as vscode from 'vscode';
import type { AvailableModel, ModelInfo, RepositoryInfo } from '../../server/protocol';
import type { Server } from '../client';
import { showFailure } from '../failure';
import { chooseInstalled } from '../models';
import { type Settings, writeSetting } from '../settings';
import { HubAccess } from './hub';
import { pickModel } from './pick';
import { Pulls } from './pulls';
import { details, repositoryDetails, size } from './words';

export interface InstallDependencies {
  readonly server: Server;
  readonly settings: () => Settings;
  readonly secrets: vscode.SecretStorage;
  /** Of all windows and folders. */
  readonly memory: vscode.Memento;
  readonly log: vscode.LogOutputChannel;
}

export function registerInstall(deps: InstallDependencies): vscode.Disposable {
  const { server, log } = deps;
  const hub = new HubAccess(deps.secrets);
  const pulls = new Pulls({ server, hub, memory: deps.memory, log });
  const shown =
    (action: () => Promise<void>): (() => Promise<void>) =>
    async () => {
      try {
        await action();
      } catch (error) {
        await showFailure(error, log);
      }
    };
  void shown(() => pulls.findAgain())();
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    registerCommand(
      'flan.installModel',
      shown(() => install(deps, hub, pulls)),
    ),
    registerCommand(
      'flan.removeModel',
      shown(() => remove(deps)),
    ),
    registerCommand(
      'flan.setToken',
      shown(() => hub.askForToken()),
    ),
  );
}

async function install(deps: InstallDependencies, hub: HubAccess, pulls: Pulls): Promise<void> {
  const picked = await pickModel(deps.server.available());
  if (picked === undefined) return;
  if (picked.kind === 'known') {
    const { model } = picked;
    if (model.installed) return chooseInstalled(deps.server, deps.settings, model.name);
    if (await confirmed(model.repository, details(model), fits(model))) await pulls.start({ model: model.repository });
    return;
  }
  const { repository } = picked;
  const info = await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Window, title: vscode.l10n.t('Looking at {0}…', repository) },
    async () => deps.server.repository({ model: repository, ...(await hub.choice()) }),
  );
  if (info.installed?.same === true) return chooseInstalled(deps.server, deps.settings, info.name);
  const { refused, installBytes = 0 } = info;
  if (refused !== undefined && refused.code !== 'unsupported-model') {
    throw Object.assign(new Error(refused.message), { data: { code: refused.code, saying: refused.saying } });
  }
  if (refused !== undefined) {
    const another = vscode.l10n.t('Install a Model…');
    const next = await vscode.window.showErrorMessage(
      vscode.l10n.t(
        '{0} is a model of type {1}. Flan runs T5 encoder-decoders: Flan-T5, Flan-UL2, UL2, T5, mT5, umT5, CodeT5.',
        repository,
        architectureOf(info),
      ),
      another,
    );
    if (next === another) await install(deps, hub, pulls);
    return;
  }
  const room = installBytes <= info.freeBytes && (info.engines ?? []).some((engine) => engine.fits);
  if (await confirmed(repository, repositoryDetails(info), room)) await pulls.start({ model: repository });
}

function fits(model: AvailableModel): boolean {
  return model.diskFits && model.engines.some((engine) => engine.fits);
}

/** What the repository calls itself. */
function architectureOf({ config }: RepositoryInfo): string {
  const { architectures, model_type: type } = (config ?? {}) as { architectures?: unknown; model_type?: unknown };
  const first = Array.isArray(architectures) ? architectures[0] : undefined;
  const name = [first, type].find((one) => typeof one === 'string') ?? '?';
  return String(name).slice(0, 60);
}

async function confirmed(name: string, detail: string, fits: boolean): Promise<boolean> {
  const yes = fits ? vscode.l10n.t('Install') : vscode.l10n.t('Install Anyway');
  const options = { modal: true, detail };
  return (await vscode.window.showInformationMessage(vscode.l10n.t('Install {0}?', name), options, yes)) === yes;
}

interface InstalledItem extends vscode.QuickPickItem {
  readonly model: ModelInfo;
}

async function remove({ server, settings }: InstallDependencies): Promise<void> {
  const installed = (await server.models()).filter(({ demo }) => !demo);
  if (installed.length === 0) {
    void vscode.window.showInformationMessage(vscode.l10n.t('Only the built-in model is here, and it stays.'));
    return;
  }
  const items = installed.map((model): InstalledItem => {
    const day =
      model.changedMs === undefined ? [] : [new Date(model.changedMs).toLocaleDateString(vscode.env.language)];
    return { label: model.name, description: [size(model.bytes), ...day].join(' · '), detail: model.dir, model };
  });
  const picked = await vscode.window.showQuickPick(items, { title: vscode.l10n.t('Remove a Model') });
  if (picked === undefined) return;
  const { name, bytes, dir } = picked.model;
  const yes = vscode.l10n.t('Remove');
  const options = { modal: true, detail: vscode.l10n.t('{0} are freed in {1}.', size(bytes), dir) };
  if ((await vscode.window.showWarningMessage(vscode.l10n.t('Remove {0}?', name), options, yes)) !== yes) return;
  const removed = await server.remove({ model: name });
  if ([name, dir].includes(settings().model ?? '')) await writeSetting('model', '');
  vscode.window.setStatusBarMessage(
    vscode.l10n.t('{0} is removed: {1} are free again.', removed.name, size(removed.freedBytes)),
    6000,
  );
}
