import * as vscode from 'vscode';
import type { TaskName } from '../server/protocol';
import type { Asked } from './history/entry';
import type { Span } from './span';

/** What an answer to this task is called. */
export function taskTitle(task: TaskName): string {
  switch (task) {
    case 'explain':
      return vscode.l10n.t('Explanation');
    case 'summarize':
      return vscode.l10n.t('Summary');
    case 'ask':
    case 'generate':
      return vscode.l10n.t('Answer');
  }
}

/** As {@link taskTitle}; a prompt set gives its answers its own name. */
export function askedTitle({ task, prompts }: Asked): string {
  return prompts?.name ?? taskTitle(task);
}

/** `line 4`, `lines 4 to 12`. */
export function linesText({ start, end }: Span): string {
  const from = start.line + 1;
  const to = end.line + 1;
  return from === to ? vscode.l10n.t('line {0}', from) : vscode.l10n.t('lines {0} to {1}', from, to);
}

/** `Explanation · lines 4 to 12`, or of the whole file. */
export function answerTitle(asked: Asked, place: Span, whole: boolean): string {
  const name = askedTitle(asked);
  if (whole) return vscode.l10n.t('{0} · the whole file', name);
  return vscode.l10n.t('{0} · {1}', name, linesText(place));
}

/** A file as people call it: its path in the workspace (with the folder's name if there are several), else its name alone. */
export function fileName(uri: vscode.Uri): string {
  const path = vscode.workspace.asRelativePath(uri);
  return path.startsWith('/') || /^[a-z]:/i.test(path) ? path.slice(path.lastIndexOf('/') + 1) : path;
}
