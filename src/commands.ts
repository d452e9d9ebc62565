import * as vscode from 'vscode';
import type { TaskName } from '../server/protocol';
import type { Answers } from './answers';
import { blockAround, type Source, selectedSource, sourceOf, wholeRange } from './source';

/** The commands that read the editor's selection, and those on the threads of their answers. */
export function registerCommands(answers: Answers): vscode.Disposable {
  const ask = async (): Promise<void> => {
    const source = await sourceToRead('ask');
    if (source === undefined) return;
    const question = await vscode.window.showInputBox({
      title: vscode.l10n.t('Ask About Selection'),
      prompt: vscode.l10n.t('The answer is taken from the selected text alone.'),
      placeHolder: vscode.l10n.t('What do you want to know about it?'),
      ignoreFocusOut: true,
    });
    if (question === undefined || question.trim() === '') return;
    await answers.start(source, 'ask', question.trim());
  };
  const run = async (task: TaskName): Promise<void> => {
    const source = await sourceToRead(task);
    if (source !== undefined) await answers.start(source, task);
  };
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    registerCommand('flan.explainSelection', () => run('explain')),
    registerCommand('flan.summarizeSelection', () => run('summarize')),
    registerCommand('flan.askAboutSelection', ask),
    registerCommand('flan.stopAnswers', () => answers.stop()),
    registerCommand('flan.removeAnswers', () => answers.remove()),
    registerCommand('flan.answer.ask', (reply: vscode.CommentReply) => answers.reply(reply.thread, reply.text)),
    registerCommand('flan.answer.stop', (target: unknown) => answers.stop(target)),
    registerCommand('flan.answer.retry', (target: unknown) => answers.retry(target)),
    registerCommand('flan.answer.copy', (target: unknown) => answers.copy(target)),
    registerCommand('flan.answer.close', (target: unknown) => answers.remove(target)),
  );
}

/** The selection; without one, what the user picks of what is around the cursor. Undefined: the user was told, or declined. */
async function sourceToRead(task: TaskName): Promise<Source | undefined> {
  const editor = vscode.window.activeTextEditor;
  const source = selectedSource(editor);
  if (typeof source === 'object') {
    if (editor !== undefined) revealEnd(editor, source.range);
    return source;
  }
  if (editor === undefined || source === 'nothing-open') {
    void vscode.window.showInformationMessage(vscode.l10n.t('Open a file and select the text that Flan should read.'));
    return undefined;
  }
  if (source === 'several-selections') {
    void vscode.window.showInformationMessage(
      vscode.l10n.t('Flan reads one selection at a time. Keep one of them and try again.'),
    );
    return undefined;
  }
  return pickSource(editor, task);
}

interface RangeItem extends vscode.QuickPickItem {
  readonly range: vscode.Range;
}

async function pickSource(editor: vscode.TextEditor, task: TaskName): Promise<Source | undefined> {
  const { document } = editor;
  if (document.getText().trim() === '') {
    void vscode.window.showInformationMessage(vscode.l10n.t('This file is empty: there is nothing to read.'));
    return undefined;
  }
  const items: RangeItem[] = [];
  const block = await blockAround(document, editor.selection.active);
  if (block !== undefined) {
    items.push(rangeItem(block.name ?? vscode.l10n.t('This paragraph'), block.range, 'list-selection'));
  }
  items.push(rangeItem(vscode.l10n.t('The whole file'), wholeRange(document), 'file'));
  const picked = await vscode.window.showQuickPick(items, {
    title: vscode.l10n.t('Nothing is selected'),
    placeHolder: pickPrompt(task),
  });
  if (picked === undefined) return undefined;
  // The user sees what is read, exactly as if it had been selected by hand.
  editor.selection = new vscode.Selection(picked.range.start, picked.range.end);
  const source = sourceOf(document, picked.range);
  revealEnd(editor, source.range);
  return source;
}

/** An answer takes about so many lines. */
const ANSWER_LINES = 10;

/** The answer appears under the last line: that line must be in view, with room below it. */
function revealEnd(editor: vscode.TextEditor, range: vscode.Range): void {
  const last = range.end.line;
  const inView = editor.visibleRanges.some(({ start, end }) => last >= start.line && last + ANSWER_LINES <= end.line);
  const fileEnds = editor.document.lineCount - 1;
  const wholeFileInView = editor.visibleRanges.some(({ start, end }) => start.line === 0 && end.line === fileEnds);
  if (inView || wholeFileInView) return;
  editor.revealRange(new vscode.Range(last, 0, last, 0), vscode.TextEditorRevealType.InCenter);
}

function rangeItem(label: string, range: vscode.Range, icon: string): RangeItem {
  const from = range.start.line + 1;
  const to = range.end.line + 1;
  return {
    label: `$(${icon}) ${label}`,
    description: from === to ? vscode.l10n.t('line {0}', from) : vscode.l10n.t('lines {0} to {1}', from, to),
    range,
  };
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
