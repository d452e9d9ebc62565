import * as vscode from 'vscode';

/** The text that an answer is about, as it was when the user asked. */
export interface Source {
  readonly uri: vscode.Uri;
  readonly range: vscode.Range;
  readonly text: string;
  readonly languageId: string;
  /** All of the document: its answer stands at the top, where it is seen, not under the last line. */
  readonly whole?: boolean;
}

/** What is selected in `editor`, in the order of the text; empty when nothing but white space is. */
export function selectedSources(editor: vscode.TextEditor): Source[] {
  return editor.selections
    .map((selection) => sourceOf(editor.document, selection))
    .filter(({ text }) => text.trim() !== '')
    .sort((a, b) => a.range.start.compareTo(b.range.start));
}

/** Whether the document can be changed; unknown of schemes that are no file system, such as those never saved. */
export function isWritable({ scheme }: vscode.Uri): boolean {
  return (
    vscode.workspace.fs.isWritableFileSystem(scheme) ?? (scheme === 'untitled' || scheme === 'vscode-notebook-cell')
  );
}

/** Where the thread of an answer about `source` stands. */
export function anchor(source: Source): vscode.Range {
  return source.whole === true ? new vscode.Range(0, 0, 0, 0) : source.range;
}

export function sourceOf(document: vscode.TextDocument, range: vscode.Range): Source {
  const whole = withoutLastLineBreak(document, range);
  return { uri: document.uri, range: whole, text: document.getText(whole), languageId: document.languageId };
}

export function wholeSource(document: vscode.TextDocument): Source {
  return { ...sourceOf(document, wholeRange(document)), whole: true };
}

export function wholeRange(document: vscode.TextDocument): vscode.Range {
  return withoutLastLineBreak(document, document.validateRange(new vscode.Range(0, 0, document.lineCount, 0)));
}

/** A selection of whole lines ends at the start of the line below; the answer belongs under the last line that was meant. */
function withoutLastLineBreak(document: vscode.TextDocument, range: vscode.Range): vscode.Range {
  if (range.isEmpty || range.isSingleLine || range.end.character > 0) return new vscode.Range(range.start, range.end);
  return new vscode.Range(range.start, document.lineAt(range.end.line - 1).range.end);
}

/** Language servers may take long, or never answer. */
const SYMBOLS_TIMEOUT_MS = 800;

const BLOCK_KINDS: ReadonlySet<vscode.SymbolKind> = new Set([
  vscode.SymbolKind.Function,
  vscode.SymbolKind.Method,
  vscode.SymbolKind.Constructor,
  vscode.SymbolKind.Class,
  vscode.SymbolKind.Interface,
  vscode.SymbolKind.Struct,
  vscode.SymbolKind.Enum,
  vscode.SymbolKind.Module,
  vscode.SymbolKind.Namespace,
  // Markdown's headings.
  vscode.SymbolKind.String,
]);

/** The innermost function, class or section around `position`, else the paragraph; undefined on an empty line. */
export async function blockAround(
  document: vscode.TextDocument,
  position: vscode.Position,
): Promise<vscode.Range | undefined> {
  const symbols = await Promise.race([
    vscode.commands.executeCommand<(vscode.DocumentSymbol | vscode.SymbolInformation)[] | undefined>(
      'vscode.executeDocumentSymbolProvider',
      document.uri,
    ),
    new Promise<undefined>((resolve) => setTimeout(resolve, SYMBOLS_TIMEOUT_MS, undefined)),
  ]);
  return innermost(symbols ?? [], position) ?? paragraph(document, position);
}

function innermost(
  symbols: readonly (vscode.DocumentSymbol | vscode.SymbolInformation)[],
  position: vscode.Position,
): vscode.Range | undefined {
  let best: vscode.Range | undefined;
  for (const symbol of symbols) {
    const range = 'location' in symbol ? symbol.location.range : symbol.range;
    if (!range.contains(position)) continue;
    const inner = 'children' in symbol ? innermost(symbol.children, position) : undefined;
    const candidate = inner ?? (BLOCK_KINDS.has(symbol.kind) ? range : undefined);
    if (candidate !== undefined && (best === undefined || best.contains(candidate))) best = candidate;
  }
  return best;
}

function paragraph(document: vscode.TextDocument, position: vscode.Position): vscode.Range | undefined {
  const blank = (line: number): boolean => document.lineAt(line).isEmptyOrWhitespace;
  if (blank(position.line)) return undefined;
  let from = position.line;
  let to = position.line;
  while (from > 0 && !blank(from - 1)) from -= 1;
  while (to < document.lineCount - 1 && !blank(to + 1)) to += 1;
  return new vscode.Range(from, 0, to, document.lineAt(to).text.length);
}
