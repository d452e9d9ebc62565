import * as vscode from 'vscode';

/** A file or folder that was renamed or moved in the editor. */
export interface Renamed {
  readonly oldUri: vscode.Uri;
  readonly newUri: vscode.Uri;
}

/** Where `uri` is after the renaming of it or of a folder around it; undefined when it stays. */
export function renamedUri(uri: vscode.Uri, renamed: readonly Renamed[]): vscode.Uri | undefined {
  for (const { oldUri, newUri } of renamed) {
    if (uri.scheme !== oldUri.scheme || uri.authority !== oldUri.authority) continue;
    if (uri.path === oldUri.path) return newUri;
    const folder = oldUri.path.endsWith('/') ? oldUri.path : `${oldUri.path}/`;
    if (uri.path.startsWith(folder)) return vscode.Uri.joinPath(newUri, uri.path.slice(folder.length));
  }
  return undefined;
}
