/** What an error means to a user: its one line, in the editor's language, and the commands that may help. */
import * as vscode from 'vscode';
import { codeOf, messageOf, ServerKeepsStoppingError, sayingOf } from './errors';

export interface Remedy {
  readonly command: string;
  readonly title: string;
}

/**
 * The message of the server is exact. Where it is there in English only, other languages get a sentence of their own for
 * its code first.
 */
export function explainError(error: unknown): string {
  const message = messageOf(error);
  const english = vscode.env.language.startsWith('en') || sayingOf(error) !== undefined;
  const own = english ? undefined : sentenceFor(codeOf(error));
  return own === undefined ? message : vscode.l10n.t('{0} ({1})', own, message);
}

export function remediesFor(error: unknown): Remedy[] {
  const chooseModel = { command: 'flan.chooseModel', title: vscode.l10n.t('Choose the Model…') };
  const chooseEngine = { command: 'flan.chooseEngine', title: vscode.l10n.t('Choose the Engine…') };
  const installModel = { command: 'flan.installModel', title: vscode.l10n.t('Install a Model…') };
  const doctor = { command: 'flan.doctor', title: vscode.l10n.t('What This Machine Can Run') };
  const restart = { command: 'flan.restartServer', title: vscode.l10n.t('Restart the Server') };
  const showLog = { command: 'flan.showLog', title: vscode.l10n.t('Show the Log') };
  if (error instanceof ServerKeepsStoppingError) return [chooseEngine, restart, showLog];
  switch (codeOf(error)) {
    case 'empty-input':
    case 'input-too-large':
    case 'binary-input':
    case 'question-too-long':
    case 'prompt-too-long':
    case 'prompt-set-too-long':
    case 'prompt-set-not-ready':
    case 'prompt-set-file':
    case 'table':
      return [];
    case 'usage':
      return [{ command: 'flan.openSettings', title: vscode.l10n.t('Settings') }];
    case 'no-model':
      return [installModel, chooseModel];
    case 'hub-token':
      return [{ command: 'flan.setToken', title: vscode.l10n.t('Set Hugging Face Token…') }];
    case 'hub-unknown':
    case 'model-exists':
      return [];
    case 'disk-full':
      return [{ command: 'flan.removeModel', title: vscode.l10n.t('Remove a Model…') }];
    case 'not-a-model':
    case 'unsupported-model':
    case 'config':
    case 'safetensors':
    case 'tensor':
    case 'tokenizer':
      return [chooseModel, showLog];
    case 'cuda':
    case 'cuda-unavailable':
    case 'encoder-shape':
    case 'no-gpu-adapter':
    case 'engine-unavailable':
    case 'engine':
    case 'out-of-memory':
      return [chooseEngine, chooseModel, doctor];
    case 'other-version':
    case 'wrong-protocol':
    case 'model-thread-broken':
      return [restart, showLog];
    default:
      return [showLog];
  }
}

function sentenceFor(code: string | undefined): string | undefined {
  switch (code) {
    case 'meter':
      return vscode.l10n.t('The tokens could not be counted.');
    case 'not-a-model':
    case 'unsupported-model':
    case 'config':
    case 'safetensors':
    case 'tensor':
    case 'tokenizer':
      return vscode.l10n.t('This model cannot be read.');
    case 'hub-token':
      return vscode.l10n.t('The hub wants a token for this model, or the stored one may not read it.');
    case 'hub-unknown':
      return vscode.l10n.t('There is no such repository or revision on the hub.');
    case 'hub-offline':
      return vscode.l10n.t('The hub cannot be reached.');
    case 'hub-line':
      return vscode.l10n.t('The connection failed too often.');
    case 'hub-checksum':
    case 'hub-changed':
      return vscode.l10n.t('What arrived is not what the hub announced.');
    case 'disk-full':
      return vscode.l10n.t('There is too little room on the disk.');
    case 'model-exists':
      return vscode.l10n.t('Another model of this name is installed.');
    case 'out-of-memory':
      return vscode.l10n.t('There is too little memory for this model.');
    case 'cuda':
    case 'cuda-unavailable':
    case 'encoder-shape':
    case 'no-gpu-adapter':
    case 'engine-unavailable':
    case 'engine':
      return vscode.l10n.t('The model cannot run on this engine.');
    case 'server-start':
    case 'server-missing':
      return vscode.l10n.t('The Flan server did not start.');
    default:
      return undefined;
  }
}
