/** Where prompt sets are kept: as files of a workspace folder, and in the profile, which settings sync carries along. */
import * as vscode from 'vscode';
import { PROMPTS_FOLDER, type PromptFiles } from '../../server/prompts/store';
import { PROFILE_SETS } from './profile';

/** Through the editor's own file system: the workspace may be on another machine. */
export function workspaceFiles(folder: vscode.Uri): PromptFiles {
  const root = vscode.Uri.joinPath(folder, ...PROMPTS_FOLDER.split('/'));
  const at = (name: string): vscode.Uri => vscode.Uri.joinPath(root, ...name.split('/'));
  return {
    list: async () => {
      const entries = await orUndefined(vscode.workspace.fs.readDirectory(root));
      return (entries ?? []).filter(([, type]) => (type & vscode.FileType.File) !== 0).map(([name]) => name);
    },
    read: async (name) => {
      const bytes = await orUndefined(vscode.workspace.fs.readFile(at(name)));
      return bytes === undefined ? undefined : new TextDecoder().decode(bytes);
    },
    write: (name, text) => writeWhole(at(name), text),
    remove: async (name) => {
      await orUndefined(vscode.workspace.fs.delete(at(name)));
    },
  };
}

/** Under a temporary name in the same folder, then renamed: a reader never sees half of a file. */
export async function writeWhole(uri: vscode.Uri, text: string): Promise<void> {
  const name = uri.path.slice(uri.path.lastIndexOf('/') + 1);
  const partial = uri.with({ path: `${uri.path.slice(0, -name.length)}.${name}.partial` });
  await vscode.workspace.fs.writeFile(partial, new TextEncoder().encode(text));
  try {
    await vscode.workspace.fs.rename(partial, uri, { overwrite: true });
  } catch (error) {
    await orUndefined(vscode.workspace.fs.delete(partial));
    throw error;
  }
}

type Texts = Readonly<Record<string, string>>;

/** Calls itself a folder, and is one value of the global state: file name to text. */
export function profileFiles(state: vscode.Memento): PromptFiles {
  const texts = (): Texts => state.get<Texts>(PROFILE_SETS, {});
  return {
    list: async () => Object.keys(texts()).filter((name) => !name.includes('/')),
    read: async (name) => texts()[name],
    write: async (name, text) => {
      await state.update(PROFILE_SETS, { ...texts(), [name]: text });
    },
    remove: async (name) => {
      const { [name]: _removed, ...others } = texts();
      await state.update(PROFILE_SETS, others);
    },
  };
}

/** A file that is not there is no error here; everything else is. */
async function orUndefined<T>(work: Thenable<T>): Promise<T | undefined> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof vscode.FileSystemError && error.code === 'FileNotFound') return undefined;
    throw error;
  }
}
