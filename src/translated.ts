import * as vscode from 'vscode';
import type { Saying } from '../server/protocol';

/** A sentence of the server in the editor's language. Its translations lie in l10n/ with those of this extension. */
export function translated({ text, args }: Saying): string {
  return vscode.l10n.t(text, ...args.map((arg) => (typeof arg === 'object' ? translated(arg) : arg)));
}
