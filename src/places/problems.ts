import * as vscode from 'vscode';
import type { Answers } from '../answers';
import { SECTION } from '../settings';
import { blockAround, type Source, sourceOf } from '../source';

const EXPLAIN_PROBLEM = 'flan.explainProblem';

/** Groups of the lightbulb's menu. */
const PROBLEM_KIND = vscode.CodeActionKind.QuickFix.append('flan');
const EXPLAIN_KIND = vscode.CodeActionKind.Empty.append('flan.explain');

/** More problems at one place would bury the real fixes. */
const MOST_PROBLEMS = 3;

/** The entries of the lightbulb: one for each problem under the cursor, and one for what is selected. */
class Lightbulb implements vscode.CodeActionProvider {
  provideCodeActions(
    document: vscode.TextDocument,
    range: vscode.Range,
    { diagnostics, triggerKind }: vscode.CodeActionContext,
  ): vscode.CodeAction[] {
    if (!vscode.workspace.getConfiguration(SECTION).get<boolean>('lightbulb', true)) return [];
    const problems = diagnostics.slice(0, MOST_PROBLEMS);
    const actions = problems.map((diagnostic) => {
      const title =
        problems.length === 1
          ? vscode.l10n.t('Explain This Problem (Flan)')
          : vscode.l10n.t('Explain This Problem (Flan): {0}', shortened(diagnostic.message));
      const action = new vscode.CodeAction(title, PROBLEM_KIND);
      action.diagnostics = [diagnostic];
      action.command = {
        command: EXPLAIN_PROBLEM,
        title,
        arguments: [document.uri, diagnostic.range, diagnostic.message],
      };
      return action;
    });
    // Without a selection only when the menu is asked for: a bulb on every line would say nothing.
    if (range.isEmpty && triggerKind !== vscode.CodeActionTriggerKind.Invoke) return actions;
    const title = vscode.l10n.t('Explain (Flan)');
    const explain = new vscode.CodeAction(title, EXPLAIN_KIND);
    explain.command = { command: 'flan.explainSelection', title };
    return [...actions, explain];
  }
}

export function registerProblems(answers: Answers): vscode.Disposable {
  const metadata = { providedCodeActionKinds: [PROBLEM_KIND, EXPLAIN_KIND] };
  return vscode.Disposable.from(
    vscode.languages.registerCodeActionsProvider('*', new Lightbulb(), metadata),
    vscode.commands.registerCommand(
      EXPLAIN_PROBLEM,
      async (uri?: vscode.Uri, range?: vscode.Range, message?: string): Promise<void> => {
        const problem = uri === undefined || range === undefined ? problemAtCursor() : { uri, range, message };
        if (problem?.message === undefined) {
          void vscode.window.showInformationMessage(vscode.l10n.t('There is no problem at the cursor.'));
          return;
        }
        const document = await vscode.workspace.openTextDocument(problem.uri);
        const oneLine = problem.message.replace(/\s+/g, ' ').trim();
        await answers.start(await surroundings(document, problem.range), {
          task: 'ask',
          // Models of this family read English, whatever the editor speaks.
          question: `What is wrong here? The message is: ${oneLine}`,
          shown: vscode.l10n.t('Explain this problem: {0}', oneLine),
        });
      },
    ),
  );
}

interface Problem {
  readonly uri: vscode.Uri;
  readonly range: vscode.Range;
  readonly message: string;
}

function problemAtCursor(): Problem | undefined {
  const editor = vscode.window.activeTextEditor;
  if (editor === undefined) return undefined;
  const { uri } = editor.document;
  const all = vscode.languages.getDiagnostics(uri);
  const { active } = editor.selection;
  const found =
    all.find(({ range }) => range.contains(active)) ??
    all.find(({ range }) => range.start.line <= active.line && range.end.line >= active.line);
  return found === undefined ? undefined : { uri, range: found.range, message: found.message };
}

/** Around a problem in a long function, so many lines on either side are read: the answer stays close to it. */
const LINES_AROUND = 10;

async function surroundings(document: vscode.TextDocument, range: vscode.Range): Promise<Source> {
  const block = (await blockAround(document, range.start)) ?? range;
  const from = Math.max(Math.min(block.start.line, range.start.line), range.start.line - LINES_AROUND);
  const to = Math.min(Math.max(block.end.line, range.end.line), range.end.line + LINES_AROUND, document.lineCount - 1);
  return sourceOf(document, new vscode.Range(from, 0, to, document.lineAt(to).text.length));
}

const SHORT = 60;

function shortened(message: string): string {
  const line = message.replace(/\s+/g, ' ').trim();
  return line.length > SHORT ? `${line.slice(0, SHORT - 1)}…` : line;
}
