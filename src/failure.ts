import * as vscode from 'vscode';
import { explainError, remediesFor } from './remedies';

/** Tells of a command that failed, with the buttons that may help. */
export async function showFailure(error: unknown, log: vscode.LogOutputChannel): Promise<void> {
  log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
  const remedies = remediesFor(error);
  const titles = remedies.map(({ title }) => title);
  const picked = await vscode.window.showErrorMessage(`Flan: ${explainError(error)}`, ...titles);
  const remedy = remedies.find(({ title }) => title === picked);
  if (remedy !== undefined) await vscode.commands.executeCommand(remedy.command);
}
