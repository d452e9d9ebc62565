import * as vscode from 'vscode';
import { excerptOf, locate } from './locate';
import { anchor, type Source, wholeRange } from './source';
import { compare, moved, type Span } from './span';
import { answerTitle } from './tasks';
import { Throttle } from './throttle';
import type { Turn } from './turn';

/**
 * The editor shows a thread when it has not changed for 100 ms: changes that follow each other faster would not appear
 * before the answer is complete.
 */
const UPDATE_INTERVAL_MS = 110;
/** Comparing a text with what it was waits for a pause in typing. */
const SETTLE_MS = 200;
/** A longer text that was edited is not compared any more: it counts as edited. */
const MOST_COMPARED = 1_000_000;

type Since = 'same' | 'edited' | 'gone';

/**
 * Everything that was asked about one text: its thread, and where the text is now. The editor draws a thread at its
 * `range` whenever anything of the thread changes, and does not move that range by itself: this does.
 */
export class Conversation implements vscode.Disposable {
  private shown: vscode.CommentThread;
  turns: Turn[];
  private source: Source;
  private since: Since = 'same';
  private readonly rendering: Throttle;
  private settling: NodeJS.Timeout | undefined;
  /** The document was opened, and what it has where the text was is not known yet. */
  private reopened = false;
  /** Counts looks at the text: a newer one ends a search that is under way. */
  private looks = 0;

  constructor(controller: vscode.CommentController, source: Source, turn: Turn) {
    this.source = source;
    this.turns = [turn];
    this.shown = this.create(controller);
    this.rendering = new Throttle(() => this.render(), UPDATE_INTERVAL_MS);
  }

  /** Another one after `moveTo`. */
  get thread(): vscode.CommentThread {
    return this.shown;
  }

  get uri(): vscode.Uri {
    return this.source.uri;
  }

  /** Where the text is now. */
  get range(): vscode.Range {
    return this.source.range;
  }

  /** The thread stands under its last line. */
  get anchor(): vscode.Range {
    return anchor(this.source);
  }

  /** About the document as a whole. */
  get whole(): boolean {
    return this.source.whole === true;
  }

  get running(): boolean {
    return this.turns.some((turn) => turn.running);
  }

  /** How far `line` is from the text; 0 within it. */
  linesTo(line: number): number {
    const { start, end } = this.range;
    return Math.max(start.line - line, line - end.line, 0);
  }

  isAbout(source: Source): boolean {
    return this.source.uri.toString() === source.uri.toString() && this.source.range.isEqual(source.range);
  }

  /**
   * The text as it is now, for the next question; as it was, when it is gone or its file is closed. From here on the
   * thread counts as up to date.
   */
  read(): Source {
    const document = vscode.workspace.textDocuments.find((each) => each.uri.toString() === this.uri.toString());
    const text = document?.getText(this.source.range) ?? '';
    if (text.trim() !== '') this.source = { ...this.source, text };
    this.showSince(text.trim() === '' ? this.since : 'same');
    return this.source;
  }

  /** The document was edited; `changes` as the editor reports them. */
  edited({ document, contentChanges }: vscode.TextDocumentChangeEvent): void {
    if (contentChanges.length === 0) return;
    this.place(this.source.whole === true ? wholeRange(document) : moved(this.source.range, contentChanges));
    clearTimeout(this.settling);
    this.settling = setTimeout(() => void this.settle(document), SETTLE_MS);
  }

  /** The document was opened; its file may have changed while it was not. */
  opened(document: vscode.TextDocument): void {
    this.reopened = true;
    void this.settle(document);
  }

  /** Its file has another name now. A thread of the editor keeps its file for life, so that takes a new one. */
  moveTo(controller: vscode.CommentController, uri: vscode.Uri): void {
    const old = this.shown;
    this.source = { ...this.source, uri };
    this.shown = this.create(controller);
    if (old.state !== undefined) this.shown.state = old.state;
    this.shown.collapsibleState = old.collapsibleState;
    old.dispose();
    this.render();
  }

  /** Shows a change of a turn, at once or with the next ones. */
  show(when: 'now' | 'soon'): void {
    if (when === 'now') this.rendering.flush();
    else this.rendering.request();
  }

  /** A resolved thread folds; its mark in the margin stays. */
  setResolved(resolved: boolean): void {
    this.thread.state = resolved ? vscode.CommentThreadState.Resolved : vscode.CommentThreadState.Unresolved;
    this.thread.collapsibleState = resolved
      ? vscode.CommentThreadCollapsibleState.Collapsed
      : vscode.CommentThreadCollapsibleState.Expanded;
    this.render();
  }

  dispose(): void {
    this.looks += 1;
    clearTimeout(this.settling);
    this.rendering.dispose();
    for (const turn of this.turns) turn.dispose();
    this.thread.dispose();
  }

  private create(controller: vscode.CommentController): vscode.CommentThread {
    // A thread that is born with a comment shows its reply box folded.
    const comments = this.turns.flatMap((turn) => turn.comments);
    const thread = controller.createCommentThread(this.source.uri, anchor(this.source), comments);
    thread.label = this.label();
    thread.canReply = true;
    thread.collapsibleState = vscode.CommentThreadCollapsibleState.Expanded;
    return thread;
  }

  private render(): void {
    const resolved = this.thread.state === vscode.CommentThreadState.Resolved;
    this.thread.contextValue = this.running ? 'running' : resolved ? 'resolved' : 'settled';
    this.thread.comments = this.turns.flatMap((turn) => turn.comments);
  }

  private async settle(document: vscode.TextDocument): Promise<void> {
    this.looks += 1;
    const look = this.looks;
    if (this.source.whole === true) this.place(wholeRange(document));
    const { range, text: wanted, whole } = this.source;
    const { reopened } = this;
    if (wanted.length > MOST_COMPARED && !reopened) {
      this.showSince('edited');
      return;
    }
    const text = document.getText(document.validateRange(range));
    const same = text === wanted;
    if (same || whole === true) {
      this.settled(same ? 'same' : 'edited');
      return;
    }
    // Cut and pasted, taken away and brought back by undo, or moved while the file was closed.
    const lost = text.trim() === '';
    if (lost || reopened) {
      const cancelled = (): boolean => this.looks !== look;
      const found = await locate(document, excerptOf(wanted), range.start.line, { cancelled });
      if (cancelled()) return;
      if (found !== undefined && (found.exact || reopened)) {
        this.place(found);
        this.settled(document.getText(this.source.range) === wanted ? 'same' : 'edited');
        return;
      }
    }
    this.settled(lost ? 'gone' : 'edited');
  }

  private settled(since: Since): void {
    this.reopened = false;
    this.showSince(since);
  }

  private place({ start, end }: Span): void {
    if (compare(this.source.range.start, start) === 0 && compare(this.source.range.end, end) === 0) return;
    const range = new vscode.Range(start.line, start.character, end.line, end.character);
    this.source = { ...this.source, range };
    if (this.source.whole === true) return;
    this.thread.range = range;
    this.thread.label = this.label();
  }

  private showSince(since: Since): void {
    if (this.since === since) return;
    this.since = since;
    this.thread.label = this.label();
  }

  private label(): string {
    const title = answerTitle(this.turns[0]?.asked ?? { task: 'ask' }, this.source.range, this.source.whole === true);
    switch (this.since) {
      case 'same':
        return title;
      case 'edited':
        return vscode.l10n.t('{0} · edited since', title);
      case 'gone':
        return vscode.l10n.t('{0} · its text is gone', title);
    }
  }
}
