/**
 * The prompt set that is open in the view, and its unsaved changes. These are kept from the first key press on, so that
 * neither a closed window nor another set that is opened loses them.
 */
import * as vscode from 'vscode';
import { formatPromptSet } from '../../server/prompts/file';
import type { PromptSet } from '../../server/protocol';
import type { Drafts } from './drafts';
import type { Entry, Library } from './library';
import type { OpenSet } from './messages';
import type { Slots } from './slots';

const OPEN_KEY = 'flan.openPromptSet';

/** No set's text. */
const GONE = 'gone';

export interface SessionDependencies {
  readonly library: Library;
  readonly slots: Slots;
  readonly drafts: Drafts;
  readonly state: vscode.Memento;
}

export class Session implements vscode.Disposable {
  private readonly deps: SessionDependencies;
  /** `replace`: the set itself is another one than the page has. */
  private readonly changed = new vscode.EventEmitter<{ readonly replace: boolean }>();
  readonly onDidChange = this.changed.event;
  private entry: Entry | undefined;
  private queue: Promise<unknown> = Promise.resolve();

  constructor(deps: SessionDependencies) {
    this.deps = deps;
  }

  dispose(): void {
    this.changed.dispose();
  }

  /** What the page edits: the draft if there is one, else what is saved. */
  get set(): PromptSet | undefined {
    const { entry } = this;
    if (entry === undefined) return undefined;
    return this.deps.drafts.get(entry.info.id)?.set ?? (entry.stored.kind === 'set' ? entry.stored.set : undefined);
  }

  /** Unsaved changes of any set, open or not. */
  draftOf(id: string): PromptSet | undefined {
    return this.deps.drafts.get(id)?.set;
  }

  get current(): Entry | undefined {
    return this.entry;
  }

  get dirty(): boolean {
    return this.entry !== undefined && this.deps.drafts.get(this.entry.info.id) !== undefined;
  }

  get open(): OpenSet | undefined {
    const { entry, set } = this;
    if (entry === undefined) return undefined;
    const slot = this.deps.slots.of(entry.info.id);
    const broken = entry.stored.kind === 'broken';
    const base = this.deps.drafts.get(entry.info.id)?.base;
    return {
      info: set === undefined || broken ? entry.info : { ...entry.info, name: set.name },
      // A draft of a file that somebody broke is still there when the file is in order again.
      ...(set === undefined || broken ? {} : { set }),
      dirty: this.dirty,
      conflict: base !== undefined && base !== savedText(entry),
      ...(slot === undefined ? {} : { slot }),
    };
  }

  /** The set that was open when the window was closed. */
  async restore(): Promise<void> {
    await this.deps.drafts.load();
    const id = this.deps.state.get<string>(OPEN_KEY);
    if (id !== undefined) await this.show(id);
  }

  show(id: string | undefined): Promise<void> {
    return this.serially(async () => {
      this.entry = id === undefined ? undefined : await this.deps.library.find(id);
      await this.deps.state.update(OPEN_KEY, this.entry?.info.id);
      this.changed.fire({ replace: true });
    });
  }

  /** The page's form of the set. One that is the saved set again is no draft. */
  edit(id: string, set: PromptSet): void {
    const { entry } = this;
    if (entry === undefined || entry.info.id !== id) {
      // Typed in the moment in which another set was opened.
      const old = this.deps.drafts.get(id);
      if (old !== undefined) this.deps.drafts.put(id, { ...old, set });
      return;
    }
    const before = this.dirty;
    const saved = savedText(entry);
    const conflict = this.open?.conflict === true;
    if (!conflict && formatPromptSet(set) === saved) this.deps.drafts.drop(id);
    else this.deps.drafts.put(id, { set, base: this.deps.drafts.get(id)?.base ?? saved });
    if (before !== this.dirty) this.changed.fire({ replace: false });
  }

  /** @throws what the file system says */
  save(): Promise<void> {
    return this.serially(async () => {
      const { entry, set } = this;
      if (entry === undefined || set === undefined || !this.dirty) return;
      await this.deps.library.save(entry, set);
      // More may have been typed while the file was written.
      if (this.set === set) this.deps.drafts.drop(entry.info.id);
      this.entry = { ...entry, stored: { kind: 'set', file: entry.file, set } };
      if (this.dirty) this.deps.drafts.put(entry.info.id, { set: this.set ?? set, base: formatPromptSet(set) });
      this.changed.fire({ replace: false });
    });
  }

  /** Back to what is saved. */
  revert(): void {
    if (this.entry === undefined) return;
    this.deps.drafts.drop(this.entry.info.id);
    this.changed.fire({ replace: true });
  }

  /** In a conflict: the draft is what counts, and saving it will replace what somebody else wrote. */
  keepMine(): void {
    const { entry, set } = this;
    if (entry === undefined || set === undefined) return;
    this.deps.drafts.put(entry.info.id, { set, base: savedText(entry) });
    this.changed.fire({ replace: false });
  }

  /** The files changed: reads the open one again. */
  refresh(): Promise<void> {
    return this.serially(async () => {
      const { entry } = this;
      if (entry === undefined) return;
      const now = await this.deps.library.find(entry.info.id);
      const same = now !== undefined && savedText(now) === savedText(entry) && now.info.broken === entry.info.broken;
      if (same) return;
      const draft = this.deps.drafts.get(entry.info.id);
      if (now === undefined && draft !== undefined) {
        // Deleted by others: the changes stay, and saving them writes the file again.
        this.deps.drafts.put(entry.info.id, { ...draft, base: GONE });
        this.changed.fire({ replace: false });
        return;
      }
      this.entry = now;
      // Somebody wrote just what stands here.
      if (now !== undefined && draft !== undefined && formatPromptSet(draft.set) === savedText(now)) {
        this.deps.drafts.drop(entry.info.id);
      }
      this.changed.fire({ replace: !this.dirty });
    });
  }

  /** Something beside the set changed that is shown with it. */
  touch(): void {
    this.changed.fire({ replace: false });
  }

  /** A set was renamed or moved with its changes saved before. */
  forget(id: string): void {
    this.deps.drafts.drop(id);
  }

  private serially(action: () => Promise<void>): Promise<void> {
    const result = this.queue.then(action);
    this.queue = result.catch(() => undefined);
    return result;
  }
}

/** Empty for a broken file, which no set is the same as. */
function savedText({ stored }: Entry): string {
  return stored.kind === 'set' ? formatPromptSet(stored.set) : '';
}
