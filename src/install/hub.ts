/** How this user reaches the hub: the token in the editor's secret storage, the editor's proxy, another hub's address. */
import * as vscode from 'vscode';
import type { HubChoice } from '../../server/protocol';

const TOKEN_KEY = 'flan.huggingFaceToken';

export class HubAccess {
  private readonly secrets: vscode.SecretStorage;

  constructor(secrets: vscode.SecretStorage) {
    this.secrets = secrets;
  }

  /** What goes with every request about a repository. Nothing of it is written to a log. */
  async choice(): Promise<Omit<HubChoice, 'model'>> {
    const accessToken = await this.secrets.get(TOKEN_KEY);
    const hubUrl = process.env['HF_ENDPOINT'];
    return {
      ...(accessToken === undefined ? {} : { accessToken }),
      ...(hubUrl === undefined || hubUrl === '' ? {} : { hubUrl }),
      ...editorProxy(),
    };
  }

  /** Asks for a token. Empty: removes the one that is stored. */
  async askForToken(): Promise<void> {
    const stored = await this.secrets.get(TOKEN_KEY);
    const typed = await vscode.window.showInputBox({
      title: vscode.l10n.t('Hugging Face Token'),
      prompt:
        stored === undefined
          ? vscode.l10n.t('Only private and gated models need one. It stays in the secret storage of the editor.')
          : vscode.l10n.t('A token is stored. Type another one, or leave this empty to remove it.'),
      placeHolder: 'hf_…',
      password: true,
      ignoreFocusOut: true,
      validateInput: (text) =>
        /\s/.test(text.trim()) ? vscode.l10n.t('A token has no spaces and is one line.') : undefined,
    });
    if (typed === undefined) return;
    const token = typed.trim();
    if (token !== '') await this.secrets.store(TOKEN_KEY, token);
    else await this.secrets.delete(TOKEN_KEY);
    const said = token !== '' ? vscode.l10n.t('The token is stored.') : vscode.l10n.t('No token is stored any more.');
    vscode.window.setStatusBarMessage(said, 4000);
  }
}

/** The proxy of the editor's settings, where the user wants the editor to use it for extensions, and its exceptions. */
function editorProxy(): Pick<HubChoice, 'proxy' | 'noProxy'> {
  const section = vscode.workspace.getConfiguration('http');
  if (section.get<string>('proxySupport') === 'off') return {};
  const proxy = section.get<string>('proxy')?.trim() ?? '';
  const noProxy = (section.get<readonly string[]>('noProxy') ?? []).join(',');
  return { ...(proxy === '' ? {} : { proxy }), ...(noProxy === '' ? {} : { noProxy }) };
}
