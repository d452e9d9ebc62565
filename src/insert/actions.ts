import * as vscode from 'vscode';
import type { Answers } from '../answers';
import { footerLines } from '../footer';
import type { Asked } from '../history/entry';
import { isWritable, type Source } from '../source';
import { answerTitle, fileName } from '../tasks';
import type { Texts } from '../texts';
import { type Done, TurnComment } from '../turn';
import { commentLines, insertionLine } from './comment';
import { CommentSyntaxes } from './syntax';

/** What becomes of an answer: copied, put into a file, or opened as a document. */
export function registerAnswerActions(answers: Answers, texts: Texts): vscode.Disposable {
  /** Runs `action` with the answer whose button was pressed; of the palette, with the last one of the nearest thread. */
  const withAnswer =
    (action: (target: AnswerTarget) => Promise<void>): ((target: unknown) => Promise<void>) =>
    async (target) => {
      const turn = target instanceof TurnComment ? target.turn : answers.current()?.turns.at(-1);
      const conversation = turn === undefined ? undefined : answers.conversationOf(turn);
      if (turn === undefined || conversation === undefined) return;
      if (turn.running || turn.answer === '') {
        void vscode.window.showInformationMessage(
          turn.running
            ? vscode.l10n.t('The answer is not complete yet.')
            : vscode.l10n.t('There is no answer to take: the model gave none.'),
        );
        return;
      }
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
  const syntaxes = new CommentSyntaxes();
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    registerCommand(
      'flan.answer.copy',
      withAnswer(({ answer }) => copyAnswer(answer)),
    ),
    registerCommand(
      'flan.answer.insertComment',
      withAnswer((target) => insertComment(target, syntaxes)),
    ),
    registerCommand('flan.answer.insertAtCursor', withAnswer(insertAtCursor)),
    registerCommand(
      'flan.answer.open',
      withAnswer((target) => openAnswer(target, texts)),
    ),
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
async function insertComment(target: AnswerTarget, syntaxes: CommentSyntaxes): Promise<void> {
  const document = await vscode.workspace.openTextDocument(target.uri);
  const syntax = await syntaxes.of(document.languageId);
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

/** At the cursor of the text's editor if it can be changed, else of the active one, else of any other that is seen. */
async function insertAtCursor({ uri, answer }: AnswerTarget): Promise<void> {
  const { activeTextEditor, visibleTextEditors } = vscode.window;
  const own = visibleTextEditors.filter(({ document }) => document.uri.toString() === uri.toString());
  const active = activeTextEditor === undefined ? [] : [activeTextEditor];
  const editor = [...active.filter((each) => own.includes(each)), ...own, ...active, ...visibleTextEditors].find(
    ({ document }) => isWritable(document.uri),
  );
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

/** As a Markdown document: where it comes from, question, answer, small print. Not a file, so it asks for nothing when closed. */
export async function openAnswer(target: AnswerTarget, texts: Texts): Promise<void> {
  const { uri, range, whole, asked, answer, outcome } = target;
  const question = asked.shown ?? asked.question;
  const title = answerTitle(asked, range, whole);
  const smallPrint = outcome === undefined ? [] : footerLines(outcome.result, outcome.seconds, vscode.l10n.t);
  const content = [
    `# ${title}`,
    '',
    `\`${fileName(uri)}\``,
    '',
    ...(question === undefined ? [] : [`> ${question.replaceAll('\n', '\n> ')}`, '']),
    answer,
    '',
    ...(smallPrint.length === 0 ? [] : ['---', '', ...smallPrint.map((line) => `${line}  `), '']),
  ].join('\n');
  await texts.open(`${title}.md`, content);
}

/** As {@link AnswerTarget}, of a text that is not in a thread. */
export function targetOf(source: Source, asked: Asked, answer: string, outcome: Done): AnswerTarget {
  return { uri: source.uri, range: source.range, whole: source.whole === true, asked, answer, outcome };
}
