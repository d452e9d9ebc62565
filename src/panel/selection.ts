/** What is selected in the editor, for the page and for examples. */
import * as vscode from 'vscode';
import type { SelectionInfo } from './messages';

/** The page shows the beginning; a selection of a whole log need not travel to it at every step of the cursor. */
const MOST_SHOWN = 2000;

/** The editor that was active last: the view itself takes the focus away from it. */
export class SelectionWatch implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  readonly onDidChange = this.changed.event;
  private readonly subscriptions: vscode.Disposable[];
  private timer: NodeJS.Timeout | undefined;

  constructor() {
    const soon = (): void => {
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.changed.fire(), 100);
    };
    this.subscriptions = [
      vscode.window.onDidChangeTextEditorSelection(soon),
      vscode.window.onDidChangeActiveTextEditor(soon),
      vscode.workspace.onDidCloseTextDocument(soon),
    ];
  }

  dispose(): void {
    clearTimeout(this.timer);
    for (const subscription of this.subscriptions) subscription.dispose();
    this.changed.dispose();
  }

  /** All selected texts, in the order of the document. */
  get texts(): string[] {
    const editor = vscode.window.activeTextEditor;
    if (editor === undefined) return [];
    return [...editor.selections]
      .sort((a, b) => a.start.compareTo(b.start))
      .map((selection) => editor.document.getText(selection))
      .filter((text) => text.trim() !== '');
  }

  get text(): string {
    return this.texts.join('\n');
  }

  get info(): SelectionInfo | undefined {
    const editor = vscode.window.activeTextEditor;
    const { text } = this;
    if (editor === undefined || text === '') return undefined;
    const { start, end } = editor.selection;
    const path = editor.document.uri.path;
    // A selection of whole lines ends at the start of the next.
    const last = end.character === 0 && end.line > start.line ? end.line - 1 : end.line;
    return {
      file: path.slice(path.lastIndexOf('/') + 1),
      from: start.line + 1,
      to: last + 1,
      text: text.slice(0, MOST_SHOWN),
    };
  }
}
