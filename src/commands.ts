import * as vscode from 'vscode';
import type { Answers } from './answers';
import type { Conversation } from './conversation';
import type { Asked } from './history/entry';
import { askQuestion, revealAnswer, sourcesToRead } from './reading';
import type { Source } from './source';
import type { Texts } from './texts';

/** The commands that read the editor's selection, and those on the threads of their answers. */
export function registerCommands(answers: Answers, texts: Texts): vscode.Disposable {
  const ask = async (): Promise<void> => {
    const sources = await sourcesToRead('ask', texts);
    const question = sources.length === 0 ? undefined : await askQuestion();
    if (question !== undefined) await answerEach(answers, sources, { task: 'ask', question });
  };
  const run = async (task: 'explain' | 'summarize'): Promise<void> => {
    await answerEach(answers, await sourcesToRead(task, texts), { task });
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
    registerCommand('flan.answer.resolve', (target = answers.current()?.thread) => answers.setResolved(target, true)),
    registerCommand('flan.answer.unresolve', (target = answers.current()?.thread) =>
      answers.setResolved(target, false),
    ),
    registerCommand('flan.answer.close', (target = answers.current()?.thread) => {
      if (target !== undefined) answers.remove(target);
    }),
    registerCommand('flan.answer.focus', () => focusThread(answers.current())),
  );
}

/** The way to a thread without a mouse: its buttons are then reached with Tab, and Escape leads back to the text. */
async function focusThread(conversation: Conversation | undefined): Promise<void> {
  if (conversation === undefined) return;
  const active = vscode.window.activeTextEditor;
  const here = active?.document.uri.toString() === conversation.uri.toString();
  const editor = active !== undefined && here ? active : await vscode.window.showTextDocument(conversation.uri);
  const { end } = conversation.anchor;
  editor.selection = new vscode.Selection(end, end);
  editor.revealRange(new vscode.Range(end, end), vscode.TextEditorRevealType.InCenterIfOutsideViewport);
  await vscode.commands.executeCommand('workbench.action.focusCommentOnCurrentLine');
}

/** Several selections are several questions: each text is read by itself, and answered under itself. */
export async function answerEach(answers: Answers, sources: readonly Source[], asked: Asked): Promise<void> {
  const [first] = sources;
  if (first === undefined) return;
  const editor = vscode.window.activeTextEditor;
  if (editor !== undefined && editor.document.uri.toString() === first.uri.toString()) {
    // A click on a thread's mark in the margin goes by where the selection ends: on the line of the mark, not below it.
    editor.selections = sources.map(({ range }) => new vscode.Selection(range.start, range.end));
    revealAnswer(editor, first);
  }
  await Promise.all(sources.map((source) => answers.start(source, asked)));
}
