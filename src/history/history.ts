import { randomUUID } from 'node:crypto';
import * as vscode from 'vscode';
import type { Answered } from '../answers';
import { messageOf } from '../errors';
import { excerptOf } from '../locate';
import { type Renamed, renamedUri } from '../renamed';
import { SECTION } from '../settings';
import type { Entry } from './entry';
import { HistoryStore } from './store';

const FILE = 'answers.jsonl';

/** The answers of this workspace, kept on this machine until the user clears them; nothing is kept while it is off. */
export class History implements vscode.Disposable {
  private readonly changeEmitter = new vscode.EventEmitter<void>();
  readonly onDidChange = this.changeEmitter.event;
  private readonly store: HistoryStore;
  private readonly log: vscode.LogOutputChannel;
  private readonly renames: vscode.Disposable;

  constructor(context: vscode.ExtensionContext, log: vscode.LogOutputChannel) {
    // A window without a folder has no storage of its own: its answers are kept as long as it is open.
    const { storageUri } = context;
    this.store = new HistoryStore(
      storageUri?.scheme === 'file' ? vscode.Uri.joinPath(storageUri, FILE).fsPath : undefined,
    );
    this.log = log;
    this.renames = vscode.workspace.onDidRenameFiles(({ files }) => void this.follow(files));
  }

  /** The newest first; empty, with a line in the log, when they cannot be read. */
  async entries(): Promise<readonly Entry[]> {
    try {
      return (await this.store.entries()).toReversed();
    } catch (error) {
      this.log.error(`History: ${messageOf(error)}`);
      return [];
    }
  }

  async add({ asked, source, answer, result, seconds }: Answered): Promise<void> {
    if (!vscode.workspace.getConfiguration(SECTION).get<boolean>('history.enabled', true)) return;
    const { start, end } = source.range;
    await this.change(() =>
      this.store.add({
        id: randomUUID(),
        time: Date.now(),
        asked,
        subject: {
          uri: source.uri.toString(),
          languageId: source.languageId,
          start: { line: start.line, character: start.character },
          end: { line: end.line, character: end.character },
          excerpt: excerptOf(source.text),
          ...(source.whole === true ? { whole: true } : {}),
        },
        answer,
        seconds,
        result,
      }),
    );
  }

  remove(entry: Entry): Promise<void> {
    return this.change(() => this.store.remove(entry.id));
  }

  clear(): Promise<void> {
    return this.change(() => this.store.clear());
  }

  /** Entries about files that were renamed in the editor are about their new names. */
  private async follow(renamed: readonly Renamed[]): Promise<void> {
    try {
      const changed = await this.store.replace((entry) => {
        const uri = renamedUri(vscode.Uri.parse(entry.subject.uri), renamed);
        return uri === undefined ? undefined : { ...entry, subject: { ...entry.subject, uri: uri.toString() } };
      });
      if (changed) this.changeEmitter.fire();
    } catch (error) {
      this.log.error(`History: ${messageOf(error)}`);
    }
  }

  dispose(): void {
    this.renames.dispose();
    this.changeEmitter.dispose();
  }

  private async change(action: () => Promise<void>): Promise<void> {
    try {
      await action();
    } catch (error) {
      // An answer that cannot be kept is still an answer.
      this.log.error(`History: ${messageOf(error)}`);
    }
    this.changeEmitter.fire();
  }
}
