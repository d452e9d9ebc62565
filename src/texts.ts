import * as vscode from 'vscode';

const SCHEME = 'flan-text';
/** Texts are small against the editor itself; this only keeps a long day from piling them up. */
const MOST_KEPT = 50;

/** Texts that are in no file (changes, a terminal's selection) as read-only documents, so that answers can stand in them. */
export class Texts implements vscode.Disposable, vscode.TextDocumentContentProvider {
  private readonly texts = new Map<string, string>();
  private readonly registration: vscode.Disposable;
  private opened = 0;

  constructor() {
    this.registration = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  }

  /**
   * @param name the title of its tab; its extension decides the language, unless that is given
   * @param column beside what is shown, so that both can be seen
   */
  async open(
    name: string,
    text: string,
    { languageId, column }: { languageId?: string; column?: vscode.ViewColumn } = {},
  ): Promise<vscode.TextEditor> {
    this.opened += 1;
    // A path of its own for each: an answer belongs to one text, even when two have the same name.
    const path = `/${Date.now().toString(36)}-${this.opened}/${name.replaceAll('/', '∕')}`;
    const uri = vscode.Uri.from({ scheme: SCHEME, path });
    this.restore(uri, text);
    let document = await vscode.workspace.openTextDocument(uri);
    if (languageId !== undefined) document = await vscode.languages.setTextDocumentLanguage(document, languageId);
    return vscode.window.showTextDocument(document, {
      preview: true,
      ...(column === undefined ? {} : { viewColumn: column }),
    });
  }

  isText(uri: vscode.Uri): boolean {
    return uri.scheme === SCHEME;
  }

  /** Gives an older document of this kind its text back. */
  restore(uri: vscode.Uri, text: string): void {
    this.texts.set(uri.toString(), text);
    const [oldest] = this.texts.keys();
    if (this.texts.size > MOST_KEPT && oldest !== undefined) this.texts.delete(oldest);
  }

  provideTextDocumentContent(uri: vscode.Uri): string {
    return this.texts.get(uri.toString()) ?? '';
  }

  dispose(): void {
    this.registration.dispose();
  }
}
