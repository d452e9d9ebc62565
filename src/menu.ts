import * as vscode from 'vscode';
import type { Server } from './client';
import type { DoctorReport } from './doctor';
import { showFailure } from './failure';
import { chooseEngine, chooseModel, loadModel } from './models';
import type { Settings } from './settings';
import { describeState } from './status';

export const MENU_COMMAND = 'flan.showMenu';

export interface MenuDependencies {
  readonly server: Server;
  readonly settings: () => Settings;
  readonly doctor: DoctorReport;
  readonly log: vscode.LogOutputChannel;
  /** `publisher.name`, to find the settings by. */
  readonly extensionId: string;
}

/** The commands about the model and its server, and the menu behind the status bar item that gathers them. */
export function registerMenu(deps: MenuDependencies): vscode.Disposable {
  const { server, settings, log } = deps;
  const shown =
    (action: () => Promise<void>): (() => Promise<void>) =>
    async () => {
      try {
        await action();
      } catch (error) {
        await showFailure(error, log);
      }
    };
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    registerCommand(MENU_COMMAND, () => showMenu(deps)),
    registerCommand(
      'flan.chooseModel',
      shown(() => chooseModel(server, settings)),
    ),
    registerCommand(
      'flan.chooseEngine',
      shown(() => chooseEngine(server, settings)),
    ),
    registerCommand(
      'flan.loadModel',
      shown(() => loadModel(server, settings)),
    ),
    registerCommand(
      'flan.doctor',
      shown(() => deps.doctor.show()),
    ),
    registerCommand(
      'flan.restartServer',
      shown(() => server.restart()),
    ),
    registerCommand(
      'flan.stopServer',
      shown(() => stopServer(server)),
    ),
    registerCommand('flan.showLog', () => log.show()),
    registerCommand('flan.openSettings', () =>
      vscode.commands.executeCommand('workbench.action.openSettings', `@ext:${deps.extensionId}`),
    ),
  );
}

interface MenuItem extends vscode.QuickPickItem {
  readonly command?: string;
}

async function showMenu({ server, settings }: MenuDependencies): Promise<void> {
  const { model, engine } = settings();
  const separator: MenuItem = { label: '', kind: vscode.QuickPickItemKind.Separator };
  const items: MenuItem[] = [
    {
      label: `$(library) ${vscode.l10n.t('Choose the Model…')}`,
      description: model ?? vscode.l10n.t('Automatic'),
      command: 'flan.chooseModel',
    },
    { label: `$(cloud-download) ${vscode.l10n.t('Install a Model…')}`, command: 'flan.installModel' },
    {
      label: `$(circuit-board) ${vscode.l10n.t('Choose the Engine…')}`,
      description: engine,
      command: 'flan.chooseEngine',
    },
    { label: `$(pulse) ${vscode.l10n.t('What This Machine Can Run')}`, command: 'flan.doctor' },
    separator,
    { label: `$(zap) ${vscode.l10n.t('Load the Model Now')}`, command: 'flan.loadModel' },
    { label: `$(debug-restart) ${vscode.l10n.t('Restart the Server')}`, command: 'flan.restartServer' },
    {
      label: `$(debug-stop) ${vscode.l10n.t('Stop the Server and Free the GPU')}`,
      description: vscode.l10n.t('for all windows'),
      command: 'flan.stopServer',
    },
    separator,
    { label: `$(history) ${vscode.l10n.t('Show the History')}`, command: 'flan.history.show' },
    { label: `$(rocket) ${vscode.l10n.t('Get Started')}`, command: 'flan.getStarted' },
    { label: `$(output) ${vscode.l10n.t('Show the Log')}`, command: 'flan.showLog' },
    { label: `$(gear) ${vscode.l10n.t('Settings')}`, command: 'flan.openSettings' },
  ];
  const picked = await vscode.window.showQuickPick(items, { title: 'Flan', placeHolder: describeState(server.state) });
  if (picked?.command !== undefined) await vscode.commands.executeCommand(picked.command);
}

async function stopServer(server: Server): Promise<void> {
  const stopped = await server.stop();
  vscode.window.setStatusBarMessage(
    stopped
      ? vscode.l10n.t('The Flan server has ended and its memory is free.')
      : vscode.l10n.t('No Flan server was running.'),
    4000,
  );
}
