import * as vscode from 'vscode';
import type { DoctorItem } from '../server/protocol';
import type { Server } from './client';
import { plainAsMarkdown } from './markdown';

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
    const items = await vscode.window.withProgress({ location: vscode.ProgressLocation.Window, title: 'Flan' }, () =>
      this.server.doctor(),
    );
    this.text = report(items);
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
  const rows = items.map((item) => `| ${item.ok ? '✓' : '✗'} | ${cell(item.what)} | ${cell(item.detail)} |`);
  return [
    `# ${vscode.l10n.t('What This Machine Can Run')}`,
    '',
    `| | ${vscode.l10n.t('What')} | ${vscode.l10n.t('Details')} |`,
    '|---|---|---|',
    ...rows,
    '',
  ].join('\n');
}

/** A cell holds one line; the vertical bar is escaped with all other punctuation. */
function cell(text: string): string {
  return plainAsMarkdown(text.replace(/\s*\n\s*/g, ' '));
}
