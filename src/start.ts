import * as vscode from 'vscode';
import type { Answers } from './answers';
import { sourceOf } from './source';
import type { Texts } from './texts';

/** A function that the built-in model has something to say about. */
const SAMPLE = `import time


def retry(function, attempts=3, delay=0.5):
    """Call a function until it succeeds."""
    for attempt in range(attempts):
        try:
            return function()
        except ConnectionError:
            if attempt == attempts - 1:
                raise
            time.sleep(delay * 2 ** attempt)
`;

/** The first minutes: the walkthrough, and the sample that it explains. */
export function registerStart(extensionId: string, answers: Answers, texts: Texts): vscode.Disposable {
  const { registerCommand } = vscode.commands;
  return vscode.Disposable.from(
    registerCommand('flan.getStarted', () =>
      vscode.commands.executeCommand('workbench.action.openWalkthrough', `${extensionId}#start`, false),
    ),
    registerCommand('flan.explainSample', async () => {
      const editor = await texts.open('retry.py', SAMPLE);
      const { document } = editor;
      const last = document.lineCount - 2;
      const source = sourceOf(document, new vscode.Range(3, 0, last, document.lineAt(last).text.length));
      editor.selection = new vscode.Selection(source.range.start, source.range.end);
      await answers.start(source, { task: 'explain' });
    }),
  );
}
