import * as vscode from 'vscode';
import type { Answers } from '../answers';
import { copyAnswer, openAnswer, targetOf } from '../insert/actions';
import { locate } from '../locate';
import { revealAnswer } from '../reading';
import { type Source, sourceOf, wholeSource } from '../source';
import { fileName } from '../tasks';
import type { Texts } from '../texts';
import { Dates } from './dates';
import type { Entry } from './entry';
import type { History } from './history';
import { HISTORY_VIEW, oneLine, placeOf, REOPEN_COMMAND, titleOf } from './view';

export interface HistoryDependencies {
  readonly history: History;
  readonly answers: Answers;
  readonly texts: Texts;
}

export function registerHistory(deps: HistoryDependencies): vscode.Disposable {
  const { history, texts } = deps;
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    registerCommand(REOPEN_COMMAND, (entry: Entry) => reopen(entry, deps)),
    registerCommand('flan.history.copy', (entry: Entry) => copyAnswer(entry.answer)),
    registerCommand('flan.history.open', (entry: Entry) => openAlone(entry, texts)),
    registerCommand('flan.history.remove', (entry: Entry) => history.remove(entry)),
    registerCommand('flan.history.search', () => search(deps)),
    registerCommand('flan.history.clear', () => clear(history)),
    registerCommand('flan.history.show', () => vscode.commands.executeCommand(`${HISTORY_VIEW}.focus`)),
    registerCommand('flan.history.settings', () =>
      vscode.commands.executeCommand('workbench.action.openSettings', 'flan.history.enabled'),
    ),
  );
}

/** Shows the answer in a thread at its text, wherever that is now; by itself when the text is gone, and says so. */
async function reopen(entry: Entry, { answers, texts }: HistoryDependencies): Promise<void> {
  const uri = vscode.Uri.parse(entry.subject.uri);
  const { excerpt } = entry.subject;
  if (texts.isText(uri) && excerpt.tail === undefined) texts.restore(uri, excerpt.head);
  const document = await opened(uri);
  if (document === undefined) {
    await openAlone(entry, texts);
    void vscode.window.showInformationMessage(
      vscode.l10n.t('{0} cannot be opened any more. Its answer is shown by itself.', placeOf(entry)),
    );
    return;
  }
  const source = await sourceFor(entry, document);
  if (source === undefined) {
    await openAlone(entry, texts);
    void vscode.window.showInformationMessage(
      vscode.l10n.t('The text of this answer is no longer in {0}. The answer is shown by itself.', fileName(uri)),
    );
    return;
  }
  const editor = await vscode.window.showTextDocument(document, { preview: true });
  editor.selection = new vscode.Selection(source.range.start, source.range.start);
  revealAnswer(editor, source);
  answers.restore(source, entry.asked, entry);
}

/** Undefined when there is no such document any more. */
async function opened(uri: vscode.Uri): Promise<vscode.TextDocument | undefined> {
  const open = vscode.workspace.textDocuments.find((document) => document.uri.toString() === uri.toString());
  // To open one that was never saved would make an empty one of that name.
  if (open !== undefined || uri.scheme === 'untitled') return open;
  try {
    return await vscode.workspace.openTextDocument(uri);
  } catch {
    return undefined;
  }
}

/**
 * The place of the text now, with the text as it was asked about: the thread compares the two, and says when they differ.
 */
async function sourceFor({ subject }: Entry, document: vscode.TextDocument): Promise<Source | undefined> {
  const { excerpt, start, whole } = subject;
  const kept = excerpt.tail === undefined ? { text: excerpt.head } : {};
  if (whole === true) return document.getText().trim() === '' ? undefined : { ...wholeSource(document), ...kept };
  const found = await locate(document, excerpt, start.line);
  if (found === undefined) return undefined;
  const { start: from, end: to } = found;
  return { ...sourceOf(document, new vscode.Range(from.line, from.character, to.line, to.character)), ...kept };
}

async function openAlone(entry: Entry, texts: Texts): Promise<void> {
  const { subject, asked, answer } = entry;
  const { start, end } = subject;
  const source: Source = {
    uri: vscode.Uri.parse(subject.uri),
    range: new vscode.Range(start.line, start.character, end.line, end.character),
    text: subject.excerpt.head,
    languageId: subject.languageId,
    ...(subject.whole === true ? { whole: true } : {}),
  };
  await openAnswer(targetOf(source, asked, answer, entry), texts);
}

interface EntryItem extends vscode.QuickPickItem {
  readonly entry: Entry;
}

async function search(deps: HistoryDependencies): Promise<void> {
  const dates = new Dates(vscode.env.language);
  const items = (await deps.history.entries()).map(
    (entry): EntryItem => ({
      label: titleOf(entry),
      description: `${placeOf(entry)} · ${dates.date(entry.time)} ${dates.clock(entry.time)}`,
      detail: oneLine(entry.answer),
      entry,
    }),
  );
  if (items.length === 0) {
    void vscode.window.showInformationMessage(vscode.l10n.t('No answers of this workspace are kept.'));
    return;
  }
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Search Answers'),
    placeHolder: vscode.l10n.t('Words of a question, an answer or a file name'),
    matchOnDescription: true,
    matchOnDetail: true,
  });
  if (picked !== undefined) await reopen(picked.entry, deps);
}

async function clear(history: History): Promise<void> {
  const remove = vscode.l10n.t('Clear');
  const picked = await vscode.window.showWarningMessage(
    vscode.l10n.t('Clear the answers that are kept of this workspace?'),
    { modal: true, detail: vscode.l10n.t('Threads that are open stay open. This cannot be undone.') },
    remove,
  );
  if (picked === remove) await history.clear();
}
