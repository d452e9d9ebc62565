/** What is kept of results: a file of answers, and the baseline of a set. */
import * as vscode from 'vscode';
import { csvHeader, csvRow, resultJsonLine } from '../../server/prompts/results';
import { forgetBaseline, keepBaseline, loadBaseline } from '../../server/prompts/store';
import type { Checker } from './checker';
import { writeWhole } from './files';
import type { Many } from './many';
import type { Session } from './session';

export interface ResultDependencies {
  readonly session: Session;
  readonly many: Many;
  readonly checker: Checker;
}

export class Results {
  private readonly deps: ResultDependencies;

  constructor(deps: ResultDependencies) {
    this.deps = deps;
  }

  async export(): Promise<void> {
    const { results } = this.deps.many;
    if (results === undefined || results.rows.length === 0) return;
    const stem = results.name.replace(/\.\w+$/, '');
    const folder = vscode.workspace.workspaceFolders?.[0]?.uri;
    const uri = await vscode.window.showSaveDialog({
      title: vscode.l10n.t('Export Results'),
      filters: { CSV: ['csv'], 'JSON Lines': ['jsonl'] },
      ...(folder === undefined ? {} : { defaultUri: vscode.Uri.joinPath(folder, `${stem}-answers.csv`) }),
    });
    if (uri === undefined) return;
    const { rows, table } = results;
    const layout = {
      options: this.deps.session.set?.options !== undefined,
      ...(table.format === 'lines' ? {} : { columns: table.columns }),
    };
    const text = uri.path.endsWith('.jsonl')
      ? rows.map(resultJsonLine).join('')
      : csvHeader(layout) + rows.map((row) => csvRow(row, layout)).join('');
    await writeWhole(uri, text);
    const open = vscode.l10n.t('Open');
    const saved = vscode.l10n.t('{0} results were saved.', rows.length);
    if ((await vscode.window.showInformationMessage(saved, open)) === open) await vscode.window.showTextDocument(uri);
  }

  async keepBaseline(): Promise<void> {
    const { session, checker } = this.deps;
    const { current } = session;
    const { result } = checker;
    if (current === undefined || result === undefined) return;
    await keepBaseline(current.shelf.files, current.file, result.set, result.report);
    checker.setBaseline(await loadBaseline(current.shelf.files, current.file));
  }

  async forgetBaseline(): Promise<void> {
    const { current } = this.deps.session;
    if (current === undefined) return;
    await forgetBaseline(current.shelf.files, current.file);
    this.deps.checker.setBaseline(undefined);
  }
}
