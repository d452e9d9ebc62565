/** All prompt sets that this window can use, from every workspace folder and from the profile. */
import * as vscode from 'vscode';
import { PROMPT_SET_SCHEMA } from '../../server/prompts/schema';
import {
  deleteSet,
  duplicateSet,
  listSets,
  loadSet,
  PROMPTS_FOLDER,
  type PromptFiles,
  renameSet,
  type StoredSet,
  saveSet,
} from '../../server/prompts/store';
import type { PromptSet } from '../../server/protocol';
import { translated } from '../translated';
import { profileFiles, workspaceFiles } from './files';
import type { SetInfo } from './messages';

/** A place that holds sets. */
export interface Shelf {
  /** Stable over restarts. */
  readonly id: string;
  readonly scope: 'workspace' | 'profile';
  /** For people: the folder's name, or empty for the profile. */
  readonly label: string;
  readonly folder?: vscode.Uri;
  readonly files: PromptFiles;
}

export interface Entry {
  readonly info: SetInfo;
  readonly shelf: Shelf;
  readonly file: string;
  readonly stored: StoredSet;
}

const PROFILE = 'profile';
/** Several files change together when a branch is switched. */
const SETTLE_MS = 150;

export class Library implements vscode.Disposable {
  private readonly changed = new vscode.EventEmitter<void>();
  /** Something was added, changed or removed, here or by others. */
  readonly onDidChange = this.changed.event;
  private readonly profile: Shelf;
  private watchers: vscode.Disposable[] = [];
  private readonly folders: vscode.Disposable;
  private timer: NodeJS.Timeout | undefined;

  constructor(context: vscode.ExtensionContext) {
    this.profile = { id: PROFILE, scope: 'profile', label: '', files: profileFiles(context.globalState) };
    this.folders = vscode.workspace.onDidChangeWorkspaceFolders(() => {
      this.watch();
      this.soon();
    });
    this.watch();
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.folders.dispose();
    for (const watcher of this.watchers.splice(0)) watcher.dispose();
    this.changed.dispose();
  }

  /** Workspace folders in their order, the profile last. */
  get shelves(): Shelf[] {
    const folders = (vscode.workspace.workspaceFolders ?? []).map(
      ({ uri, name }): Shelf => ({
        id: uri.toString(),
        scope: 'workspace',
        label: name,
        folder: uri,
        files: workspaceFiles(uri),
      }),
    );
    return [...folders, this.profile];
  }

  async list(): Promise<Entry[]> {
    const all = await Promise.all(
      this.shelves.map(async (shelf) => (await listSets(shelf.files)).map((stored) => entryOf(shelf, stored))),
    );
    return all.flat();
  }

  /** Read afresh; undefined when it is not there any more. */
  async find(id: string): Promise<Entry | undefined> {
    const place = this.placeOf(id);
    if (place === undefined) return undefined;
    const stored = await loadSet(place.shelf.files, place.file);
    return stored === undefined ? undefined : entryOf(place.shelf, stored);
  }

  async create(shelf: Shelf, set: PromptSet): Promise<string> {
    return this.done(shelf, await saveSet(shelf.files, set, { schema: PROMPT_SET_SCHEMA }));
  }

  async save({ shelf, file }: Pick<Entry, 'shelf' | 'file'>, set: PromptSet): Promise<void> {
    await saveSet(shelf.files, set, { schema: PROMPT_SET_SCHEMA, file });
    this.soon();
  }

  async rename({ shelf, file }: Entry, name: string): Promise<string> {
    return this.done(shelf, await renameSet(shelf.files, file, name, PROMPT_SET_SCHEMA));
  }

  async duplicate({ shelf, file }: Entry): Promise<string> {
    return this.done(shelf, await duplicateSet(shelf.files, file, PROMPT_SET_SCHEMA));
  }

  async remove({ shelf, file }: Entry): Promise<void> {
    await deleteSet(shelf.files, file);
    this.soon();
  }

  uriOf({ shelf, file }: Pick<Entry, 'shelf' | 'file'>): vscode.Uri | undefined {
    if (shelf.folder === undefined) return undefined;
    return vscode.Uri.joinPath(shelf.folder, ...PROMPTS_FOLDER.split('/'), file);
  }

  private done(shelf: Shelf, file: string): string {
    this.soon();
    return idOf(shelf, file);
  }

  private placeOf(id: string): { shelf: Shelf; file: string } | undefined {
    const at = id.indexOf('#');
    const shelf = this.shelves.find((each) => each.id === id.slice(0, at));
    return shelf === undefined ? undefined : { shelf, file: id.slice(at + 1) };
  }

  private watch(): void {
    for (const watcher of this.watchers.splice(0)) watcher.dispose();
    for (const folder of vscode.workspace.workspaceFolders ?? []) {
      const watcher = vscode.workspace.createFileSystemWatcher(
        new vscode.RelativePattern(folder, `${PROMPTS_FOLDER}/*.json`),
      );
      const soon = (): void => this.soon();
      this.watchers.push(watcher, watcher.onDidCreate(soon), watcher.onDidChange(soon), watcher.onDidDelete(soon));
    }
  }

  private soon(): void {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.changed.fire(), SETTLE_MS);
  }
}

function idOf(shelf: Shelf, file: string): string {
  return `${shelf.id}#${file}`;
}

function entryOf(shelf: Shelf, stored: StoredSet): Entry {
  const { file } = stored;
  const several = (vscode.workspace.workspaceFolders?.length ?? 0) > 1;
  const path = `${several ? `${shelf.label}/` : ''}${PROMPTS_FOLDER}/${file}`;
  const info: SetInfo = {
    id: idOf(shelf, file),
    name: stored.kind === 'set' ? stored.set.name : file,
    scope: shelf.scope,
    path: shelf.scope === 'workspace' ? path : '',
    ...(stored.kind === 'broken'
      ? { broken: vscode.l10n.t('Line {0}: {1}', stored.error.line, translated(stored.error.why)) }
      : {}),
  };
  return { info, shelf, file, stored };
}
