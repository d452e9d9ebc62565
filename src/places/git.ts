/** The part of the built-in git extension's API (version 1) that is used here. */
import * as vscode from 'vscode';

export interface Repository {
  readonly rootUri: vscode.Uri;
  readonly inputBox: { value: string };
  readonly state: {
    readonly indexChanges: readonly unknown[];
    readonly workingTreeChanges: readonly { readonly uri: vscode.Uri; readonly status: number }[];
    readonly untrackedChanges?: readonly { readonly uri: vscode.Uri }[];
  };
  diff(cached?: boolean): Promise<string>;
}

interface GitApi {
  readonly repositories: readonly Repository[];
}

interface GitExtension {
  readonly enabled: boolean;
  getAPI(version: 1): GitApi;
}

/** `Status.UNTRACKED` of the git extension. */
const UNTRACKED = 7;

/** Repositories that are open; undefined without the git extension, or while it is switched off. */
async function repositories(): Promise<readonly Repository[] | undefined> {
  const extension = vscode.extensions.getExtension<GitExtension>('vscode.git');
  if (extension === undefined) return undefined;
  const git = await extension.activate();
  return git.enabled ? git.getAPI(1).repositories : undefined;
}

/**
 * The repository that a command is about: the one of the view that it was called from, the only one, the one of the active
 * file, else the user's choice. Undefined: the user was told why, or declined.
 */
export async function chooseRepository(from: unknown): Promise<Repository | undefined> {
  const all = await repositories();
  if (all === undefined || all.length === 0) {
    void vscode.window.showInformationMessage(
      all === undefined
        ? vscode.l10n.t('This needs Git in the editor, which is switched off.')
        : vscode.l10n.t('No Git repository is open.'),
    );
    return undefined;
  }
  const root = rootOf(from);
  const meant = all.find(({ rootUri }) => rootUri.toString() === root?.toString());
  if (meant !== undefined) return meant;
  if (all.length === 1) return all[0];
  const items = all.map((repository) => ({
    label: nameOf(repository),
    description: repository.rootUri.fsPath,
    repository,
  }));
  const picked = await vscode.window.showQuickPick(items, { title: vscode.l10n.t('Choose a Repository') });
  return picked?.repository;
}

export function nameOf({ rootUri }: Repository): string {
  return rootUri.path.slice(rootUri.path.lastIndexOf('/') + 1);
}

/** What is staged, if anything is, as the next commit would be; else all that changed, with the names of new files. */
export async function changesOf(
  repository: Repository,
): Promise<{ diff: string; staged: boolean; untracked: string[] }> {
  const { indexChanges, workingTreeChanges, untrackedChanges } = repository.state;
  const staged = indexChanges.length > 0;
  const diff = await repository.diff(staged);
  if (staged) return { diff, staged, untracked: [] };
  const uris = [...workingTreeChanges.filter(({ status }) => status === UNTRACKED), ...(untrackedChanges ?? [])];
  return { diff, staged, untracked: uris.map(({ uri }) => vscode.workspace.asRelativePath(uri, false)) };
}

/** The source control view hands its commands the `SourceControl` that they stand on. */
function rootOf(from: unknown): vscode.Uri | undefined {
  if (typeof from !== 'object' || from === null || !('rootUri' in from)) return undefined;
  return from.rootUri instanceof vscode.Uri ? from.rootUri : undefined;
}
