/** Tables from files, the clipboard and the editor, as examples. */
import * as vscode from 'vscode';
import { TableError } from '../../server/prompts/errors';
import { examplesFrom } from '../../server/prompts/pick';
import { guessColumns, parseTable, type Table } from '../../server/prompts/table';
import type { Example } from '../../server/protocol';
import { translated } from '../translated';

/** A table of examples or inputs is text that somebody made; more than this would fill the window's memory. */
const MOST_BYTES = 64 * 1024 * 1024;

/** @throws with one line for the user */
export async function readTable(uri: vscode.Uri): Promise<{ readonly name: string; readonly table: Table }> {
  const name = uri.path.slice(uri.path.lastIndexOf('/') + 1);
  const { size } = await vscode.workspace.fs.stat(uri);
  if (size > MOST_BYTES) throw new Error(vscode.l10n.t('{0} is too large: split it.', name));
  const bytes = await vscode.workspace.fs.readFile(uri);
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw new Error(vscode.l10n.t('{0} is no text in UTF-8.', name));
  }
  const table = tableOf(text, name);
  if (table.rows.length === 0) throw new Error(vscode.l10n.t('{0} is empty.', name));
  return { name, table };
}

function tableOf(text: string, fileName: string): Table {
  try {
    return parseTable(text, { fileName });
  } catch (error) {
    if (!(error instanceof TableError)) throw error;
    throw new Error(vscode.l10n.t('{0}, line {1}: {2}', fileName, error.line, translated(error.why)));
  }
}

/** Examples of a table; asks for the columns where they are not plain. Undefined: the user was told, or declined. */
export async function examplesOf(table: Table): Promise<readonly Example[] | undefined> {
  if (table.columns.length < 2) {
    void vscode.window.showWarningMessage(
      vscode.l10n.t('There is only one column. Examples need two: inputs and outputs.'),
    );
    return undefined;
  }
  const guess = guessColumns(table);
  const columns =
    table.columns.length === 2 && guess.output !== undefined
      ? { input: guess.input, output: guess.output }
      : await askColumns(table, guess);
  if (columns === undefined) return undefined;
  const { picked, skipped } = examplesFrom(table, columns);
  const [first] = skipped;
  if (first !== undefined) {
    void vscode.window.showWarningMessage(
      vscode.l10n.t('{0} rows were left out. Line {1} lacks its input or output.', skipped.length, first.line),
    );
  }
  return picked;
}

async function askColumns(
  table: Table,
  guess: ReturnType<typeof guessColumns>,
): Promise<{ input: number; output: number } | undefined> {
  const input = await askColumn(table, vscode.l10n.t('Which column has the inputs?'), guess.input, undefined);
  if (input === undefined) return undefined;
  const output = await askColumn(table, vscode.l10n.t('Which column has the outputs?'), guess.output, input);
  return output === undefined ? undefined : { input, output };
}

async function askColumn(
  table: Table,
  title: string,
  guess: number | undefined,
  without: number | undefined,
): Promise<number | undefined> {
  const items = table.columns.flatMap((label, index) =>
    index === without ? [] : [{ label, description: table.rows[0]?.cells[index] ?? '', index }],
  );
  // The guess comes first, where Enter takes it.
  items.sort((a, b) => Number(b.index === guess) - Number(a.index === guess));
  return (await vscode.window.showQuickPick(items, { title }))?.index;
}
