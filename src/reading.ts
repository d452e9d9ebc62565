/** Which text a command reads: what is selected, else what is around the cursor, else what the user picks. */
import * as vscode from 'vscode';
import type { TaskName } from '../server/protocol';
import { anchor, blockAround, type Source, selectedSources, sourceOf, wholeRange } from './source';
import { linesText } from './tasks';
import type { Texts } from './texts';

/** More selections than this may be many cursors that were forgotten. */
const MOST_UNASKED = 4;

/** Empty: the user was told why, or declined. */
export async function sourcesToRead(task: TaskName, texts: Texts): Promise<Source[]> {
  const editor = await activeEditor();
  if (editor === undefined) {
    void vscode.window.showInformationMessage(vscode.l10n.t('Open a file and select the text that Flan should read.'));
    return [];
  }
  const selected = selectedSources(editor);
  if (selected.length > MOST_UNASKED && !(await confirmMany(selected.length))) return [];
  if (selected.length > 0) return whereThreadsShow(selected, editor.document, texts);

  if (editor.document.getText().trim() === '') {
    void vscode.window.showInformationMessage(vscode.l10n.t('This file is empty: there is nothing to read.'));
    return [];
  }
  const block = await blockAround(editor.document, editor.selection.active);
  const range = block ?? (await pickRange(editor.document, task));
  if (range === undefined) return [];
  const source = sourceOf(editor.document, range);
  // The user sees what is read, exactly as if it had been selected by hand.
  editor.selection = new vscode.Selection(source.range.start, source.range.end);
  return whereThreadsShow([source], editor.document, texts);
}

/**
 * The window tells of an editor that was just opened a moment after it is on the screen, and a busy one later still: so
 * long where a tab with a text is known already, and so long where none is.
 */
const OPENING_MS = { tab: 5000, none: 1000 };

async function activeEditor(): Promise<vscode.TextEditor | undefined> {
  if (vscode.window.activeTextEditor !== undefined) return vscode.window.activeTextEditor;
  const { activeTab } = vscode.window.tabGroups.activeTabGroup;
  const expected = activeTab?.input instanceof vscode.TabInputText;
  let changes: vscode.Disposable | undefined;
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise((resolve) => {
      changes = vscode.window.onDidChangeActiveTextEditor((editor) => {
        if (editor !== undefined) resolve(editor);
      });
      timer = setTimeout(() => resolve(vscode.window.activeTextEditor), expected ? OPENING_MS.tab : OPENING_MS.none);
    });
  } finally {
    changes?.dispose();
    clearTimeout(timer);
  }
}

/**
 * The editor shows no threads in outputs, which also move on while one reads, and none in the cells of notebooks: what is
 * read there becomes a document of its own.
 */
export async function whereThreadsShow(
  sources: readonly Source[],
  document: vscode.TextDocument,
  texts: Texts,
): Promise<Source[]> {
  const { scheme, path } = document.uri;
  if (scheme !== 'output' && scheme !== 'vscode-notebook-cell') return [...sources];
  const text = sources.map((source) => source.text).join('\n\n');
  const editor =
    scheme === 'output'
      ? await texts.open(vscode.l10n.t('Output.log'), text)
      : await texts.open(vscode.l10n.t('From {0}', path.slice(path.lastIndexOf('/') + 1)), text, {
          languageId: document.languageId,
          column: vscode.ViewColumn.Beside,
        });
  return [sourceOf(editor.document, wholeRange(editor.document))];
}

async function confirmMany(count: number): Promise<boolean> {
  const go = vscode.l10n.t('Answer Each');
  const picked = await vscode.window.showInformationMessage(
    vscode.l10n.t('{0} texts are selected. Each gets an answer of its own.', count),
    go,
  );
  return picked === go;
}

interface RangeItem extends vscode.QuickPickItem {
  readonly range: vscode.Range;
}

async function pickRange(document: vscode.TextDocument, task: TaskName): Promise<vscode.Range | undefined> {
  const range = wholeRange(document);
  const item: RangeItem = {
    label: `$(file) ${vscode.l10n.t('The whole file')}`,
    description: linesText(range),
    range,
  };
  const picked = await vscode.window.showQuickPick([item], {
    title: vscode.l10n.t('Nothing is selected'),
    placeHolder: pickPrompt(task),
  });
  return picked?.range;
}

function pickPrompt(task: TaskName): string {
  switch (task) {
    case 'explain':
      return vscode.l10n.t('Explain instead:');
    case 'summarize':
      return vscode.l10n.t('Summarize instead:');
    case 'ask':
    case 'generate':
      return vscode.l10n.t('Ask about instead:');
  }
}

/** An answer takes about so many lines. */
const ANSWER_LINES = 10;

/** The answer appears under the last line: that line must be in view, with room below it. */
export function revealAnswer(editor: vscode.TextEditor, source: Source): void {
  const last = anchor(source).end.line;
  const inView = editor.visibleRanges.some(({ start, end }) => last >= start.line && last + ANSWER_LINES <= end.line);
  const fileEnds = editor.document.lineCount - 1;
  const wholeFileInView = editor.visibleRanges.some(({ start, end }) => start.line === 0 && end.line === fileEnds);
  if (inView || wholeFileInView) return;
  editor.revealRange(new vscode.Range(last, 0, last, 0), vscode.TextEditorRevealType.InCenter);
}

/** Undefined or empty: the user changed their mind. */
export async function askQuestion(): Promise<string | undefined> {
  const question = await vscode.window.showInputBox({
    title: vscode.l10n.t('Ask About Selection'),
    prompt: vscode.l10n.t('The answer is taken from the selected text alone.'),
    placeHolder: vscode.l10n.t('What do you want to know about it?'),
    ignoreFocusOut: true,
  });
  return question?.trim() || undefined;
}
