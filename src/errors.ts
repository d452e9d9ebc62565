import * as vscode from 'vscode';

/** The server ended, or the connection broke, while a request was waiting for it. */
export class ServerGoneError extends Error {
  constructor() {
    super(vscode.l10n.t('The Flan server stopped before the answer was complete. Retry starts a new one.'));
    this.name = 'ServerGoneError';
  }
}

/** The server ended again and again in a short time: another try needs another choice first. */
export class ServerKeepsStoppingError extends Error {
  constructor(times: number) {
    super(
      vscode.l10n.t(
        'The Flan server stopped {0} times within a few minutes. Choose another engine or a smaller model, or look at the log.',
        times,
      ),
    );
    this.name = 'ServerKeepsStoppingError';
  }
}

/** The one line that a user sees of an error. */
export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  const line = message.split('\n', 1)[0]?.trim();
  return line || vscode.l10n.t('Something failed without a message. The log may say more.');
}

/** The stable code that the server puts into `data` of its errors (`FlanError.code`), if there is one. */
export function codeOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('data' in error)) return undefined;
  const { data } = error;
  if (typeof data !== 'object' || data === null || !('code' in data)) return undefined;
  return typeof data.code === 'string' ? data.code : undefined;
}
