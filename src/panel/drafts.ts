/**
 * Unsaved changes of prompt sets, in a file of the extension's own storage. Not in the editor's state: that is written
 * some time later by another process, and a window that is closed or crashes in between would lose what was typed.
 */
import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { PromptSet } from '../../server/protocol';
import { Throttle } from '../throttle';

export interface Draft {
  readonly set: PromptSet;
  /** Text of the saved set that the changes were made to: another text there now is a conflict. */
  readonly base: string;
}

/** The first key press is written at once, those that follow after so long. */
const WRITE_INTERVAL_MS = 200;

export class Drafts {
  private readonly folder: string;
  private readonly path: string;
  private readonly writer: Throttle;
  private readonly failed: (error: unknown) => void;
  private all: Readonly<Record<string, Draft>> = {};
  private writing: Promise<void> = Promise.resolve();
  private changed = false;
  private ended = false;

  /** `failed`: told when they cannot be written, which the user must know. */
  constructor(folder: string, failed: (error: unknown) => void) {
    this.folder = folder;
    this.path = join(folder, 'prompt-drafts.json');
    this.failed = failed;
    this.writer = new Throttle(() => this.write(), WRITE_INTERVAL_MS);
  }

  async load(): Promise<void> {
    try {
      const kept: unknown = JSON.parse(await readFile(this.path, 'utf8'));
      // Written below, whole or not at all.
      if (typeof kept === 'object' && kept !== null) this.all = { ...(kept as Record<string, Draft>), ...this.all };
    } catch {
      // There are none.
    }
  }

  get(id: string): Draft | undefined {
    return this.all[id];
  }

  put(id: string, draft: Draft): void {
    this.all = { ...this.all, [id]: draft };
    this.changed = true;
    this.writer.request();
  }

  drop(id: string): void {
    if (this.all[id] === undefined) return;
    const { [id]: _dropped, ...others } = this.all;
    this.all = others;
    this.changed = true;
    this.writer.request();
  }

  /** The window goes: what is not written yet is written before this returns. */
  dispose(): void {
    this.writer.dispose();
    this.ended = true;
    if (!this.changed) return;
    try {
      mkdirSync(this.folder, { recursive: true });
      writeFileSync(`${this.path}.last`, JSON.stringify(this.all));
      renameSync(`${this.path}.last`, this.path);
    } catch (error) {
      this.failed(error);
    }
  }

  private write(): void {
    const text = JSON.stringify(this.all);
    const now = this.all;
    this.writing = this.writing
      .then(async () => {
        await mkdir(this.folder, { recursive: true });
        await writeFile(`${this.path}.partial`, text);
        // In one step with the question: what is written at the end must not be replaced by what was before.
        if (this.ended) return;
        renameSync(`${this.path}.partial`, this.path);
        if (this.all === now) this.changed = false;
      })
      .catch(this.failed);
  }
}
