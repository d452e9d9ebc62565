import * as vscode from 'vscode';
import type { Answers } from '../answers';
import { footerLines } from '../footer';
import type { Asked } from '../history/entry';
import type { Source } from '../source';
import { answerTitle } from '../tasks';
import { type Done, TurnComment } from '../turn';
import { commentLines, insertionLine } from './comment';
import { commentSyntax } from './syntax';

/** What becomes of an answer: copied, put into a file, or opened as a document. */
export function registerAnswerActions(answers: Answers): vscode.Disposable {
  /** Runs `action` with the answer whose button was pressed. */
  const withAnswer =
    (action: (target: AnswerTarget) => Promise<void>): ((target: unknown) => Promise<void>) =>
    async (target) => {
      if (!(target instanceof TurnComment)) return;
      const { turn } = target;
      const conversation = answers.conversationOf(turn);
      if (conversation === undefined) return;
      const { uri, range } = conversation;
      await action({
        uri,
        range,
        answer: turn.answer,
        asked: turn.asked,
        whole: conversation.whole,
        outcome: turn.outcome,
      });
    };
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    registerCommand(
      'flan.answer.copy',
      withAnswer(({ answer }) => copyAnswer(answer)),
    ),
    registerCommand('flan.answer.insertComment', withAnswer(insertComment)),
    registerCommand('flan.answer.insertAtCursor', withAnswer(insertAtCursor)),
    registerCommand('flan.answer.open', withAnswer(openAnswer)),
  );
}

export interface AnswerTarget {
  readonly uri: vscode.Uri;
  readonly range: vscode.Range;
  readonly whole: boolean;
  readonly asked: Asked;
  readonly answer: string;
  /** Undefined for an answer that was stopped before it was complete. */
  readonly outcome: Done | undefined;
}

export async function copyAnswer(answer: string): Promise<void> {
  await vscode.env.clipboard.writeText(answer);
  vscode.window.setStatusBarMessage(vscode.l10n.t('The answer was copied.'), 2000);
}

/** Where a line is broken when the language has no ruler of its own. */
const COLUMNS = 80;

/** Above the first line of the text, in the language's own comments; one step for undo. */
async function insertComment(target: AnswerTarget): Promise<void> {
  const document = await vscode.workspace.openTextDocument(target.uri);
  const syntax = await commentSyntax(document.languageId);
  if (syntax === undefined) {
    const instead = vscode.l10n.t('Insert at the Cursor');
    const picked = await vscode.window.showInformationMessage(
      vscode.l10n.t('“{0}” has no comments that Flan knows of.', document.languageId),
      instead,
    );
    if (picked === instead) await insertAtCursor(target);
    return;
  }
  const settings = vscode.workspace.getConfiguration('editor', document);
  const first = document.validateRange(target.range).start.line;
  const line = insertionLine(first, document.lineAt(0).text);
  const indent = /^\s*/.exec(document.lineAt(Math.min(first, document.lineCount - 1)).text)?.[0] ?? '';
  const rulers = settings.get<unknown>('rulers');
  const ruler: unknown = Array.isArray(rulers) ? rulers[0] : undefined;
  const lines = commentLines(target.answer, syntax, {
    indent,
    columns: typeof ruler === 'number' && ruler > 0 ? ruler : COLUMNS,
    tabSize: settings.get<number>('tabSize', 4),
  });
  const edit = new vscode.WorkspaceEdit();
  const eol = document.eol === vscode.EndOfLine.CRLF ? '\r\n' : '\n';
  if (line < document.lineCount) edit.insert(target.uri, new vscode.Position(line, 0), lines.join(eol) + eol);
  else edit.insert(target.uri, document.lineAt(document.lineCount - 1).range.end, eol + lines.join(eol));
  if (!(await vscode.workspace.applyEdit(edit))) sayNotChanged();
}

/** At the cursor of the text's editor if one is open, else of the one that is active. */
async function insertAtCursor({ uri, answer }: AnswerTarget): Promise<void> {
  const { activeTextEditor, visibleTextEditors } = vscode.window;
  const isOwn = (editor: vscode.TextEditor): boolean => editor.document.uri.toString() === uri.toString();
  const own =
    activeTextEditor !== undefined && isOwn(activeTextEditor) ? activeTextEditor : visibleTextEditors.find(isOwn);
  const editor = own ?? activeTextEditor;
  if (editor === undefined) {
    void vscode.window.showInformationMessage(
      vscode.l10n.t('Open a file and put the cursor where the answer should go.'),
    );
    return;
  }
  const done = await editor.edit((edit) => edit.insert(editor.selection.active, answer));
  if (!done) sayNotChanged();
}

function sayNotChanged(): void {
  void vscode.window.showWarningMessage(vscode.l10n.t('This text cannot be changed. Copy the answer instead.'));
}

/** As a new Markdown document: where it comes from, question, answer, small print. */
export async function openAnswer({ uri, range, whole, asked, answer, outcome }: AnswerTarget): Promise<void> {
  const question = asked.shown ?? asked.question;
  const name = vscode.workspace.asRelativePath(uri);
  const content = [
    `# ${answerTitle(asked, range, whole)}`,
    '',
    `\`${name}\``,
    '',
    ...(question === undefined ? [] : [`> ${question.replaceAll('\n', '\n> ')}`, '']),
    answer,
    '',
    ...(outcome === undefined
      ? []
      : ['---', '', ...footerLines(outcome.result, outcome.seconds, vscode.l10n.t).map((line) => `${line}  `), '']),
  ].join('\n');
  const document = await vscode.workspace.openTextDocument({ language: 'markdown', content });
  await vscode.window.showTextDocument(document, { preview: false });
}

/** As {@link AnswerTarget}, of a text that is not in a thread. */
export function targetOf(source: Source, asked: Asked, answer: string, outcome: Done): AnswerTarget {
  return { uri: source.uri, range: source.range, whole: source.whole === true, asked, answer, outcome };
}
