import * as vscode from 'vscode';
import type { Progress, RunParams } from '../server/protocol';
import type { Server } from './client';
import { Conversation } from './conversation';
import { codeOf, messageOf } from './errors';
import { type Asked, type KeptResult, keptResult } from './history/entry';
import { type Renamed, renamedUri } from './renamed';
import type { Settings } from './settings';
import { isWritable, type Source } from './source';
import { type Done, Turn, TurnComment } from './turn';

/** Also the value of `commentController` in the when clauses of package.json. */
const CONTROLLER = 'flan';
/** Set while an answer is being written; a when clause of the palette's Stop. */
const RUNNING_CONTEXT = 'flan.running';
/** Set while there are threads; a when clause of what the palette does with them. */
const THREADS_CONTEXT = 'flan.answers';

/** An answer that is complete, and what it is about. */
export interface Answered extends Done {
  readonly asked: Asked;
  readonly source: Source;
  /** As shown, without the small print. */
  readonly answer: string;
}

export interface AnswersDependencies {
  readonly server: Server;
  readonly settings: () => Settings;
  readonly log: vscode.LogOutputChannel;
  /** Runs the prompt set with this id, as it is now. */
  readonly runPrompts: (
    id: string,
    text: string,
    onProgress: (progress: Progress) => void,
    token: vscode.CancellationToken,
  ) => Promise<KeptResult>;
  /** Told of every complete answer. */
  readonly onAnswered: (answered: Answered) => void;
}

/** The comment threads in which answers appear, and what their buttons do. */
export class Answers implements vscode.Disposable {
  private readonly deps: AnswersDependencies;
  private readonly controller: vscode.CommentController;
  private readonly conversations = new Map<vscode.CommentThread, Conversation>();
  private readonly subscriptions: vscode.Disposable;
  private readonly shown = { running: false, threads: false };

  constructor(deps: AnswersDependencies) {
    this.deps = deps;
    this.controller = vscode.comments.createCommentController(CONTROLLER, 'Flan');
    this.controller.options = {
      prompt: vscode.l10n.t('Ask about the selected text'),
      placeHolder: vscode.l10n.t('Ask about the selected text'),
    };
    this.subscriptions = vscode.Disposable.from(
      vscode.workspace.onDidChangeTextDocument((change) => {
        for (const conversation of this.about(change.document.uri)) conversation.edited(change);
      }),
      vscode.workspace.onDidOpenTextDocument((document) => {
        for (const conversation of this.about(document.uri)) conversation.opened(document);
      }),
      vscode.workspace.onDidRenameFiles(({ files }) => this.follow(files)),
    );
  }

  /** Opens a thread under the source and writes the answer into it. The same task on the same text replaces its thread. */
  async start(source: Source, asked: Asked): Promise<void> {
    for (const old of this.about(source.uri)) {
      const before = old.turns[0]?.asked;
      const same = before?.task === asked.task && before.prompts?.id === asked.prompts?.id;
      if (asked.task !== 'ask' && same && old.isAbout(source)) this.remove(old.thread);
    }
    const turn = this.newTurn(source, asked);
    const conversation = this.open(source, turn);
    await this.answer(conversation, turn);
  }

  /** Opens a thread with an answer that was given before; one that shows it already comes into view instead. */
  restore(source: Source, asked: Asked, { result, seconds }: Done): void {
    const shown = this.about(source.uri).find(
      (each) =>
        each.isAbout(source) &&
        each.turns.some(
          ({ asked: old, outcome }) => old.question === asked.question && outcome?.result.text === result.text,
        ),
    );
    if (shown !== undefined) {
      shown.setResolved(false);
      return;
    }
    const turn = this.newTurn(source, asked);
    turn.finish(result, seconds);
    const conversation = this.open(source, turn);
    conversation.show('now');
    const document = vscode.workspace.textDocuments.find((each) => each.uri.toString() === source.uri.toString());
    if (document !== undefined) conversation.opened(document);
  }

  /** The reply box: a question about the same text. */
  async reply(thread: vscode.CommentThread, text: string): Promise<void> {
    const conversation = this.conversations.get(thread);
    const question = text.trim();
    if (conversation === undefined || question === '') return;
    const turn = this.newTurn(conversation, { task: 'ask', question });
    conversation.turns.push(turn);
    await this.answer(conversation, turn);
  }

  /** The same question about the same text, as it is now, in place of the old answer. */
  async retry(target: unknown): Promise<void> {
    const meant = target instanceof TurnComment ? target.turn : this.current()?.turns.at(-1);
    if (meant === undefined) return;
    // The editor shows changes a moment late: the answer on the screen may be one that a retry has replaced already.
    const old = meant.latest;
    const conversation = this.conversationOf(old);
    if (conversation === undefined || old.running) return;
    const turn = this.newTurn(conversation, old.asked);
    conversation.turns = conversation.turns.map((each) => (each === old ? turn : each));
    old.replaceBy(turn);
    await this.answer(conversation, turn);
  }

  /** Stops one answer, all answers of a thread, or all of this window. */
  stop(target?: unknown): void {
    for (const conversation of this.conversations.values()) {
      for (const turn of conversation.turns) {
        const meant = target instanceof TurnComment ? target.turn === turn : target === conversation.thread;
        if (turn.running && (meant || target === undefined)) turn.cancellation.cancel();
      }
    }
  }

  /** Folds a thread that is done with, or unfolds it again. */
  setResolved(target: unknown, resolved: boolean): void {
    for (const conversation of this.conversations.values()) {
      if (conversation.thread === target) conversation.setResolved(resolved);
    }
  }

  /** Takes one thread away, or all, and with it whatever is still running in it. */
  remove(target?: unknown): void {
    for (const conversation of [...this.conversations.values()]) {
      if (target !== undefined && conversation.thread !== target) continue;
      this.conversations.delete(conversation.thread);
      conversation.dispose();
    }
    this.showContexts();
  }

  conversationOf(turn: Turn): Conversation | undefined {
    return [...this.conversations.values()].find((conversation) => conversation.turns.includes(turn));
  }

  /** Which one a command of the palette means: the nearest to the cursor, else the newest of all texts. */
  current(): Conversation | undefined {
    const editor = vscode.window.activeTextEditor;
    const line = editor?.selection.active.line ?? 0;
    const here = editor === undefined ? [] : this.about(editor.document.uri);
    const away = (each: Conversation): number => each.linesTo(line);
    return here.reverse().sort((a, b) => away(a) - away(b))[0] ?? [...this.conversations.values()].at(-1);
  }

  dispose(): void {
    this.subscriptions.dispose();
    for (const conversation of this.conversations.values()) conversation.dispose();
    this.conversations.clear();
    this.controller.dispose();
  }

  /** Threads go where their files go; what is being written goes on there. */
  private follow(renamed: readonly Renamed[]): void {
    for (const conversation of [...this.conversations.values()]) {
      const uri = renamedUri(conversation.uri, renamed);
      if (uri === undefined) continue;
      this.conversations.delete(conversation.thread);
      conversation.moveTo(this.controller, uri);
      this.conversations.set(conversation.thread, conversation);
    }
  }

  private about(uri: vscode.Uri): Conversation[] {
    if (this.conversations.size === 0) return [];
    const wanted = uri.toString();
    return [...this.conversations.values()].filter((conversation) => conversation.uri.toString() === wanted);
  }

  private open(source: Source, turn: Turn): Conversation {
    const conversation = new Conversation(this.controller, source, turn);
    this.conversations.set(conversation.thread, conversation);
    this.showContexts();
    return conversation;
  }

  private newTurn({ uri }: { readonly uri: vscode.Uri }, asked: Asked): Turn {
    const { state } = this.deps.server;
    return new Turn(asked, isWritable(uri), state.kind === 'on' ? state.status.model : undefined);
  }

  private async answer(conversation: Conversation, turn: Turn): Promise<void> {
    const source = conversation.read();
    conversation.show('now');
    this.showContexts();
    const { token } = turn.cancellation;
    try {
      const { prompts } = turn.asked;
      const onProgress = (progress: Progress): void => {
        turn.progress(progress);
        conversation.show('soon');
      };
      turn.finish(
        prompts === undefined
          ? keptResult(await this.deps.server.run(this.params(source, turn.asked), onProgress, token))
          : await this.deps.runPrompts(prompts.id, source.text, onProgress, token),
      );
    } catch (error) {
      if (token.isCancellationRequested || codeOf(error) === 'cancelled') turn.stopped();
      else {
        this.deps.log.error(`${turn.asked.task}: ${messageOf(error)}`);
        turn.fail(error);
      }
    }
    if (!this.conversations.has(conversation.thread)) return;
    conversation.show('now');
    this.showContexts();
    const { asked, answer, outcome } = turn;
    if (outcome !== undefined && answer.trim() !== '') {
      this.deps.onAnswered({ asked, answer, ...outcome, source: { ...source, range: conversation.range } });
    }
  }

  private params(source: Source, { task, question }: Asked): RunParams {
    const { model, engine, maxNewTokens, modeToken } = this.deps.settings();
    return {
      task,
      ...beginning(source),
      languageId: source.languageId,
      firstLine: source.range.start.line + 1,
      engine,
      maxNewTokens,
      modeToken,
      ...(question === undefined ? {} : { question }),
      ...(model === undefined ? {} : { model }),
    };
  }

  private showContexts(): void {
    const all = [...this.conversations.values()];
    this.showContext(
      RUNNING_CONTEXT,
      'running',
      all.some((conversation) => conversation.running),
    );
    this.showContext(THREADS_CONTEXT, 'threads', all.length > 0);
  }

  private showContext(name: string, key: 'running' | 'threads', value: boolean): void {
    if (this.shown[key] === value) return;
    this.shown[key] = value;
    void vscode.commands.executeCommand('setContext', name, value);
  }
}

/** More than any model reads: to send it would hold up the editor's host for nothing. */
const MOST_SENT = 500_000;

/** The text, or whole lines from its beginning with the number of its last line. */
function beginning({ text, range }: Source): { text: string; lastLine?: number } {
  if (text.length <= MOST_SENT) return { text };
  const end = text.lastIndexOf('\n', MOST_SENT);
  return { text: text.slice(0, end > 0 ? end : MOST_SENT), lastLine: range.end.line + 1 };
}
