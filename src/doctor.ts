import * as vscode from 'vscode';
import type { AvailableModel, DoctorItem } from '../server/protocol';
import type { Server } from './client';
import { fitSentence, shortCount, size } from './install/words';
import { plainAsMarkdown } from './markdown';
import { translated } from './translated';

const SCHEME = 'flan-report';

/** What this machine can run, as a read-only page. */
export class DoctorReport implements vscode.Disposable, vscode.TextDocumentContentProvider {
  private readonly server: Server;
  private readonly changeEmitter = new vscode.EventEmitter<vscode.Uri>();
  readonly onDidChange = this.changeEmitter.event;
  private readonly registration: vscode.Disposable;
  private text = '';

  constructor(server: Server) {
    this.server = server;
    this.registration = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  }

  async show(): Promise<void> {
    const [items, models] = await vscode.window.withProgress(
      { location: vscode.ProgressLocation.Window, title: 'Flan' },
      async () => [await this.server.doctor(), await this.server.available()] as const,
    );
    this.text = [report(items), modelTable(models)].join('\n');
    const uri = vscode.Uri.from({ scheme: SCHEME, path: `/${vscode.l10n.t('What This Machine Can Run')}.md` });
    this.changeEmitter.fire(uri);
    try {
      await vscode.commands.executeCommand('markdown.showPreview', uri);
    } catch {
      // The editor's own Markdown extension can be switched off: the source is readable as well.
      await vscode.window.showTextDocument(uri, { preview: true });
    }
  }

  provideTextDocumentContent(): string {
    return this.text;
  }

  dispose(): void {
    this.registration.dispose();
    this.changeEmitter.dispose();
  }
}

function report(items: readonly DoctorItem[]): string {
  const rows = items.map(({ ok, what, detail, said }) => {
    const shown = said === undefined ? [what, detail] : [translated(said.what), translated(said.detail)];
    return `| ${ok ? '✓' : '✗'} | ${shown.map(cell).join(' | ')} |`;
  });
  return [
    `# ${vscode.l10n.t('What This Machine Can Run')}`,
    '',
    `| | ${vscode.l10n.t('What')} | ${vscode.l10n.t('Details')} |`,
    '|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

/** The models that answer questions and summarize, the recommended one first. */
function modelTable(models: readonly AvailableModel[]): string {
  const useful = models.filter(({ tasks }) => tasks.some((task) => task !== 'generate'));
  const sorted = [...useful].sort((a, b) => Number(b.recommended) - Number(a.recommended));
  const rows = sorted.map((model) => {
    const fits = model.diskFits && model.engines.some((engine) => engine.fits);
    const marks = [
      ...(model.recommended ? [vscode.l10n.t('recommended for this machine')] : []),
      ...(model.installed ? [vscode.l10n.t('installed')] : []),
    ];
    const name = `${cell(model.repository)}${marks.length === 0 ? '' : ` **${cell(marks.join(', '))}**`}`;
    const numbers = `${shortCount(model.parameters)} | ${size(model.int8Bytes)}`;
    return `| ${fits ? '✓' : '✗'} | ${name} | ${numbers} | ${cell(fitSentence(model))} |`;
  });
  const heads = [
    vscode.l10n.t('Model'),
    vscode.l10n.t('Parameters'),
    vscode.l10n.t('On the Disk'),
    vscode.l10n.t('On This Machine'),
  ];
  return [
    `## ${vscode.l10n.t('Models for This Machine')}`,
    '',
    `| | ${heads.join(' | ')} |`,
    '|---|---|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

/** A cell holds one line; the vertical bar is escaped with all other punctuation. */
function cell(text: string): string {
  return plainAsMarkdown(text.replace(/\s*\n\s*/g, ' '));
}
