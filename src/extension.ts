/** The extension's table of contents: everything is built here once and handed to those who need it. */
import * as vscode from 'vscode';
import { Answers } from './answers';
import { registerChatModels } from './chat/provider';
import { Server } from './client';
import { registerCommands } from './commands';
import { DoctorReport } from './doctor';
import { messageOf } from './errors';
import { registerHistory } from './history/commands';
import { History } from './history/history';
import { HistoryView } from './history/view';
import { registerAnswerActions } from './insert/actions';
import { registerInstall } from './install/commands';
import { MENU_COMMAND, registerMenu } from './menu';
import { Prompts } from './panel/prompts';
import { registerChanges } from './places/changes';
import { registerPlaces } from './places/files';
import { registerProblems } from './places/problems';
import { CONNECTION_SETTINGS, readSettings } from './settings';
import { registerStart } from './start';
import { StatusItem } from './status';
import { Texts } from './texts';

let server: Server | undefined;

export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel('Flan', { log: true });
  context.subscriptions.push(log);
  try {
    start(context, log);
  } catch (error) {
    // The editor itself tells nobody that an extension did not start.
    log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
    void vscode.window.showErrorMessage(vscode.l10n.t('Flan could not start: {0}', messageOf(error)));
    throw error;
  }
}

/** Awaited by the editor before the window goes: the server hears that this client leaves. */
export async function deactivate(): Promise<void> {
  const leaving = server;
  server = undefined;
  await leaving?.shutdown();
}

function start(context: vscode.ExtensionContext, log: vscode.LogOutputChannel): void {
  const serverPath = context.asAbsolutePath('dist/server.js');
  const own = new Server({ settings: readSettings, serverPath, log });
  server = own;
  const texts = new Texts();
  const history = new History(context, log);
  const prompts = new Prompts({ context, server: own, settings: readSettings, log });
  const answers = new Answers({
    server: own,
    settings: readSettings,
    log,
    runPrompts: (...what) => prompts.run(...what),
    onAnswered: (answered) => void history.add(answered),
  });
  const doctor = new DoctorReport(own);
  context.subscriptions.push(
    own,
    answers,
    doctor,
    new StatusItem(own, MENU_COMMAND),
    texts,
    history,
    new HistoryView(history),
    registerCommands(answers, texts),
    registerAnswerActions(answers, texts),
    registerHistory({ history, answers, texts }),
    prompts,
    prompts.register(answers, texts),
    registerProblems(answers),
    registerStart(context.extension.id, answers, texts),
    registerChatModels({ server: own, settings: readSettings, log }),
    registerPlaces(answers, texts),
    registerChanges({ answers, texts, server: own, settings: readSettings, log }),
    registerMenu({ server: own, settings: readSettings, doctor, log, extensionId: context.extension.id }),
    registerInstall({
      server: own,
      settings: readSettings,
      secrets: context.secrets,
      memory: context.globalState,
      log,
    }),
    vscode.workspace.onDidChangeConfiguration((change) => {
      if (CONNECTION_SETTINGS.some((name) => change.affectsConfiguration(name))) void own.reconnect();
    }),
  );
}
