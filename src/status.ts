import * as vscode from 'vscode';
import type { Status } from '../server/protocol';
import type { Server, ServerState } from './client';
import { deviceName } from './footer';

/** The item in the status bar: which model, on which device, and what it is doing. A click opens the menu. */
export class StatusItem implements vscode.Disposable {
  private readonly item: vscode.StatusBarItem;
  private readonly subscription: vscode.Disposable;

  constructor(server: Server, menuCommand: string) {
    this.item = vscode.window.createStatusBarItem('flan.status', vscode.StatusBarAlignment.Right, 100);
    this.item.name = 'Flan';
    this.item.command = menuCommand;
    this.subscription = server.onDidChangeState((state) => this.show(state));
    this.show(server.state);
    this.item.show();
  }

  dispose(): void {
    this.subscription.dispose();
    this.item.dispose();
  }

  private show(state: ServerState): void {
    const { icon, label } = appearance(state);
    const description = describeState(state);
    this.item.text = `$(${icon}) ${label}`;
    this.item.tooltip = tooltip(state, description);
    this.item.accessibilityInformation = { label: `Flan: ${description}`, role: 'button' };
    this.item.backgroundColor =
      state.kind === 'failed' ? new vscode.ThemeColor('statusBarItem.errorBackground') : undefined;
  }
}

function appearance(state: ServerState): { icon: string; label: string } {
  switch (state.kind) {
    case 'off':
      return { icon: 'comment', label: 'Flan' };
    case 'starting':
      return { icon: 'loading~spin', label: 'Flan' };
    case 'failed':
      return { icon: 'error', label: 'Flan' };
    case 'on': {
      const { status } = state;
      const where = [status.model ?? 'Flan', deviceOf(status)].filter((part) => part !== '').join(' · ');
      return { icon: STATE_ICONS[status.state], label: where };
    }
  }
}

const STATE_ICONS: Readonly<Record<Status['state'], string>> = {
  idle: 'comment',
  loading: 'loading~spin',
  ready: 'comment',
  busy: 'sync~spin',
};

/** The state in one sentence, for the tooltip, the menu and screen readers. */
export function describeState(state: ServerState): string {
  switch (state.kind) {
    case 'off':
      return vscode.l10n.t('Not running. It starts with your first question.');
    case 'starting':
      return vscode.l10n.t('The server is starting…');
    case 'failed':
      return state.message;
    case 'on':
      return describeStatus(state.status);
  }
}

function describeStatus(status: Status): string {
  const model = status.model ?? '';
  const device = deviceOf(status);
  switch (status.state) {
    case 'idle':
      return vscode.l10n.t('Running, no model loaded. It loads with your next question.');
    case 'loading':
      return vscode.l10n.t('Loading {0}…', model);
    case 'ready':
      return vscode.l10n.t('{0} is ready on {1}.', model, device);
    case 'busy':
      return vscode.l10n.t('{0} is answering on {1}.', model, device);
  }
}

function tooltip(state: ServerState, description: string): vscode.MarkdownString {
  const text = new vscode.MarkdownString();
  text.appendText(description);
  if (state.kind === 'on') {
    const { status } = state;
    if (status.demo === true) {
      text.appendMarkdown('\n\n').appendText(vscode.l10n.t('This is the small demonstration model.'));
    }
    if (status.why !== undefined) text.appendMarkdown('\n\n').appendText(status.why);
    if (status.queued > 0) {
      text.appendMarkdown('\n\n').appendText(vscode.l10n.t('Questions waiting: {0}', status.queued));
    }
  }
  text.appendMarkdown('\n\n').appendText(vscode.l10n.t('Everything runs on this machine. Click for the menu.'));
  return text;
}

function deviceOf({ device = '' }: Status): string {
  return deviceName(device, vscode.l10n.t);
}
