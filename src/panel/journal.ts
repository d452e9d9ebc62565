/** The journal of a run as a file of the extension's own storage; what stands in it is in server/prompts/journal.ts. */
import { createHash } from 'node:crypto';
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as vscode from 'vscode';
import { journalHeader, journalLine, type RunIdentity } from '../../server/prompts/journal';
import type { PromptOutcome } from '../../server/protocol';

interface Line {
  readonly input: string;
  readonly outcome: PromptOutcome;
}

export class Journal {
  readonly identity: RunIdentity;
  private readonly folder: string;
  private readonly path: string;
  private writing: Promise<void> = Promise.resolve();

  /** `inputs`: names the file and column; each has one journal, of its latest run. */
  constructor(storage: vscode.Uri, inputs: string, identity: RunIdentity) {
    this.identity = identity;
    this.folder = join(storage.fsPath, 'runs');
    this.path = join(this.folder, `${createHash('sha256').update(inputs).digest('hex').slice(0, 16)}.jsonl`);
  }

  /** Undefined when there was no run. */
  async read(): Promise<string | undefined> {
    try {
      return await readFile(this.path, 'utf8');
    } catch {
      return undefined;
    }
  }

  /** Begins anew, with what is known already. */
  start(known: readonly Line[]): void {
    const text = journalHeader(this.identity) + known.map(({ input, outcome }) => journalLine(input, outcome)).join('');
    this.afterwards(async () => {
      await mkdir(this.folder, { recursive: true });
      await writeFile(this.path, text);
    });
  }

  append(input: string, outcome: PromptOutcome): void {
    this.afterwards(() => appendFile(this.path, journalLine(input, outcome)));
  }

  settled(): Promise<void> {
    return this.writing;
  }

  /** A journal that cannot be written costs the resuming, not the run. */
  private afterwards(work: () => Promise<void>): void {
    this.writing = this.writing.then(work).catch(() => undefined);
  }
}
