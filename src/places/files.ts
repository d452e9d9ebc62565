import * as vscode from 'vscode';
import type { Answers } from '../answers';
import { whereThreadsShow } from '../reading';
import { sourceOf, wholeRange, wholeSource } from '../source';
import type { Texts } from '../texts';

/** Summaries of whole files from the explorer and from tabs, cells of notebooks, and what is selected in a terminal. */
export function registerPlaces(answers: Answers, texts: Texts): vscode.Disposable {
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    registerCommand('flan.summarizeFile', (uri?: vscode.Uri, uris?: readonly vscode.Uri[]) =>
      summarizeFiles(uris !== undefined && uris.length > 0 ? uris : uri === undefined ? [] : [uri], answers),
    ),
    registerCommand('flan.explainCell', (cell?: vscode.NotebookCell) => answerCells(cell, 'explain', answers, texts)),
    registerCommand('flan.summarizeCell', (cell?: vscode.NotebookCell) =>
      answerCells(cell, 'summarize', answers, texts),
    ),
    registerCommand('flan.explainTerminalSelection', () => explainTerminal(answers, texts)),
  );
}

/** More files at once are a mistake of the hand. */
const MOST_FILES = 10;

async function summarizeFiles(chosen: readonly vscode.Uri[], answers: Answers): Promise<void> {
  const active = vscode.window.activeTextEditor?.document.uri;
  const uris = chosen.length > 0 ? chosen : active === undefined ? [] : [active];
  if (uris.length === 0) {
    void vscode.window.showInformationMessage(vscode.l10n.t('Open a file, or choose one in the explorer.'));
    return;
  }
  if (uris.length > MOST_FILES) {
    void vscode.window.showInformationMessage(vscode.l10n.t('Choose at most {0} files at once.', MOST_FILES));
    return;
  }
  const running: Promise<void>[] = [];
  for (const uri of uris) {
    const document = await readable(uri);
    if (document === undefined) continue;
    const editor = await vscode.window.showTextDocument(document, { preview: uris.length === 1 });
    // The answer stands under the first line.
    editor.revealRange(new vscode.Range(0, 0, 0, 0), vscode.TextEditorRevealType.AtTop);
    running.push(answers.start(wholeSource(document), { task: 'summarize' }));
  }
  await Promise.all(running);
}

/** Undefined: the user was told why. */
async function readable(uri: vscode.Uri): Promise<vscode.TextDocument | undefined> {
  const name = uri.path.slice(uri.path.lastIndexOf('/') + 1);
  let document: vscode.TextDocument;
  try {
    document = await vscode.workspace.openTextDocument(uri);
  } catch {
    void vscode.window.showInformationMessage(vscode.l10n.t('{0} cannot be read as text.', name));
    return undefined;
  }
  if (document.getText().trim() !== '') return document;
  void vscode.window.showInformationMessage(vscode.l10n.t('This file is empty: there is nothing to read.'));
  return undefined;
}

/** The cell whose toolbar was used, else the selected ones. */
async function answerCells(
  cell: vscode.NotebookCell | undefined,
  task: 'explain' | 'summarize',
  answers: Answers,
  texts: Texts,
): Promise<void> {
  const editor = vscode.window.activeNotebookEditor;
  const selected = editor?.selections.flatMap((range) => editor.notebook.getCells(range)) ?? [];
  const cells = (cell === undefined ? selected : [cell]).filter(({ document }) => document.getText().trim() !== '');
  if (cells.length === 0) {
    void vscode.window.showInformationMessage(vscode.l10n.t('Select a cell with text in it.'));
    return;
  }
  const running: Promise<void>[] = [];
  for (const { document } of cells) {
    for (const source of await whereThreadsShow([sourceOf(document, wholeRange(document))], document, texts)) {
      running.push(answers.start(source, { task }));
    }
  }
  await Promise.all(running);
}

/** The editor's API does not tell what is selected in a terminal: it is copied, read, and the clipboard is put back. */
async function explainTerminal(answers: Answers, texts: Texts): Promise<void> {
  const { clipboard } = vscode.env;
  const before = await clipboard.readText();
  let text = '';
  try {
    await clipboard.writeText('');
    await vscode.commands.executeCommand('workbench.action.terminal.copySelection');
    text = await clipboard.readText();
  } finally {
    await clipboard.writeText(before);
  }
  if (text.trim() === '') {
    void vscode.window.showInformationMessage(vscode.l10n.t('Select text in the terminal first.'));
    return;
  }
  const name = vscode.window.activeTerminal?.name ?? 'Terminal';
  const { document } = await texts.open(vscode.l10n.t('From {0}.log', name), withoutBlankEdges(text));
  await answers.start(sourceOf(document, wholeRange(document)), { task: 'explain' });
}

/** A terminal is a grid: what is selected in it ends in spaces and in empty lines. */
function withoutBlankEdges(text: string): string {
  return text
    .replace(/[ \t\r]+$/gm, '')
    .replace(/^\n+/, '')
    .trimEnd();
}
