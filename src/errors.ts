import * as vscode from 'vscode';
import type { Saying } from '../server/protocol';
import { translated } from './translated';

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

/** The one line that a user sees of an error: in the editor's language where it is known in it, else in English. */
export function messageOf(error: unknown): string {
  const saying = sayingOf(error);
  if (saying !== undefined) return translated(saying);
  const message = error instanceof Error ? error.message : String(error);
  const line = message.split('\n', 1)[0]?.trim();
  return line || vscode.l10n.t('Something failed without a message. The log may say more.');
}

/** The stable code that the server puts into `data` of its errors (`FlanError.code`), if there is one. */
export function codeOf(error: unknown): string | undefined {
  const code = dataOf(error)?.['code'];
  return typeof code === 'string' ? code : undefined;
}

/** What the server says in a form that can be translated, of an error of its own or of its modules here. */
export function sayingOf(error: unknown): Saying | undefined {
  const saying = (dataOf(error) ?? asObject(error))?.['saying'];
  return isSaying(saying) ? saying : undefined;
}

function dataOf(error: unknown): Readonly<Record<string, unknown>> | undefined {
  return asObject(asObject(error)?.['data']);
}

function isSaying(value: unknown): value is Saying {
  const { text, args } = asObject(value) ?? {};
  if (typeof text !== 'string' || !Array.isArray(args)) return false;
  return args.every((arg) => typeof arg === 'string' || typeof arg === 'number' || isSaying(arg));
}

function asObject(value: unknown): Readonly<Record<string, unknown>> | undefined {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : undefined;
}
