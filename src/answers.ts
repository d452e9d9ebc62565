import * as vscode from 'vscode';
import type { RunParams, TaskName } from '../server/protocol';
import type { Server } from './client';
import { codeOf, messageOf } from './errors';
import type { Settings } from './settings';
import type { Source } from './source';
import { Throttle } from './throttle';
import { Turn, TurnComment } from './turn';

/** Also the value of `commentController` in the when clauses of package.json. */
const CONTROLLER = 'flan';
/** Set while an answer is being written; a when clause of the palette's Stop. */
const RUNNING_CONTEXT = 'flan.running';
/**
 * The editor shows a thread when it has not changed for 100 ms: changes that follow each other faster would not appear
 * before the answer is complete.
 */
const UPDATE_INTERVAL_MS = 110;

export interface AnswersDependencies {
  readonly server: Server;
  readonly settings: () => Settings;
  readonly log: vscode.LogOutputChannel;
}

/** Everything that was asked about one selection. */
interface Conversation {
  readonly thread: vscode.CommentThread;
  readonly source: Source;
  readonly task: TaskName;
  readonly throttle: Throttle;
  turns: Turn[];
}

/** The comment threads in which answers appear, and what their buttons do. */
export class Answers implements vscode.Disposable {
  private readonly deps: AnswersDependencies;
  private readonly controller: vscode.CommentController;
  private readonly conversations = new Map<vscode.CommentThread, Conversation>();
  private runningShown = false;

  constructor(deps: AnswersDependencies) {
    this.deps = deps;
    this.controller = vscode.comments.createCommentController(CONTROLLER, 'Flan');
    this.controller.options = {
      prompt: vscode.l10n.t('Ask about the selected text'),
      placeHolder: vscode.l10n.t('Ask about the selected text'),
    };
  }

  /** Opens a thread under the source and writes the answer into it. The same task on the same lines replaces its thread. */
  async start(source: Source, task: TaskName, question?: string): Promise<void> {
    for (const old of this.conversations.values()) {
      const same = old.task === task && task !== 'ask' && old.source.range.isEqual(source.range);
      if (same && old.source.uri.toString() === source.uri.toString()) this.remove(old.thread);
    }
    const turn = this.newTurn(task, question);
    // A thread that is born with a comment shows its reply box folded.
    const thread = this.controller.createCommentThread(source.uri, source.range, turn.comments);
    const conversation: Conversation = {
      thread,
      source,
      task,
      throttle: new Throttle(() => this.render(conversation), UPDATE_INTERVAL_MS),
      turns: [turn],
    };
    thread.label = threadLabel(task, source.range);
    thread.canReply = true;
    this.conversations.set(thread, conversation);
    thread.collapsibleState = vscode.CommentThreadCollapsibleState.Expanded;
    await this.answer(conversation, turn);
  }

  /** The reply box: a question about the same text. */
  async reply(thread: vscode.CommentThread, text: string): Promise<void> {
    const conversation = this.conversations.get(thread);
    const question = text.trim();
    if (conversation === undefined || question === '') return;
    const turn = this.newTurn('ask', question);
    conversation.turns.push(turn);
    await this.answer(conversation, turn);
  }

  /** The same question about the same text, in place of the old answer. */
  async retry(target: unknown): Promise<void> {
    if (!(target instanceof TurnComment)) return;
    const old = target.turn;
    const conversation = this.conversationOf(old);
    if (conversation === undefined || old.running) return;
    const turn = this.newTurn(old.task, old.question);
    conversation.turns = conversation.turns.map((each) => (each === old ? turn : each));
    old.dispose();
    await this.answer(conversation, turn);
  }

  async copy(target: unknown): Promise<void> {
    if (!(target instanceof TurnComment)) return;
    await vscode.env.clipboard.writeText(target.turn.answer);
    vscode.window.setStatusBarMessage(vscode.l10n.t('The answer was copied.'), 2000);
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

  /** Takes one thread away, or all, and with it whatever is still running in it. */
  remove(target?: unknown): void {
    for (const conversation of [...this.conversations.values()]) {
      if (target !== undefined && conversation.thread !== target) continue;
      this.conversations.delete(conversation.thread);
      this.disposeConversation(conversation);
    }
    this.showRunning();
  }

  dispose(): void {
    for (const conversation of this.conversations.values()) this.disposeConversation(conversation);
    this.conversations.clear();
    this.controller.dispose();
  }

  private disposeConversation(conversation: Conversation): void {
    conversation.throttle.dispose();
    for (const turn of conversation.turns) turn.dispose();
    conversation.thread.dispose();
  }

  private newTurn(task: TaskName, question: string | undefined): Turn {
    const { state } = this.deps.server;
    return new Turn(task, question, state.kind === 'on' ? state.status.model : undefined);
  }

  private async answer(conversation: Conversation, turn: Turn): Promise<void> {
    conversation.throttle.flush();
    this.showRunning();
    const { token } = turn.cancellation;
    try {
      const result = await this.deps.server.run(
        this.params(conversation.source, turn),
        (progress) => {
          turn.progress(progress);
          conversation.throttle.request();
        },
        token,
      );
      turn.finish(result);
    } catch (error) {
      if (token.isCancellationRequested || codeOf(error) === 'cancelled') turn.stopped();
      else {
        this.deps.log.error(`${turn.task}: ${messageOf(error)}`);
        turn.fail(error);
      }
    }
    if (this.conversations.has(conversation.thread)) conversation.throttle.flush();
    this.showRunning();
  }

  private params(source: Source, turn: Turn): RunParams {
    const { model, engine, maxNewTokens, modeToken } = this.deps.settings();
    return {
      task: turn.task,
      text: source.text,
      languageId: source.languageId,
      firstLine: source.range.start.line + 1,
      engine,
      maxNewTokens,
      modeToken,
      ...(turn.question === undefined ? {} : { question: turn.question }),
      ...(model === undefined ? {} : { model }),
    };
  }

  private render(conversation: Conversation): void {
    const { thread, turns } = conversation;
    thread.contextValue = turns.some((turn) => turn.running) ? 'running' : 'settled';
    thread.comments = turns.flatMap((turn) => turn.comments);
  }

  private conversationOf(turn: Turn): Conversation | undefined {
    return [...this.conversations.values()].find((conversation) => conversation.turns.includes(turn));
  }

  private showRunning(): void {
    const running = [...this.conversations.values()].some((c) => c.turns.some((turn) => turn.running));
    if (running === this.runningShown) return;
    this.runningShown = running;
    void vscode.commands.executeCommand('setContext', RUNNING_CONTEXT, running);
  }
}

function threadLabel(task: TaskName, range: vscode.Range): string {
  const name = taskTitle(task);
  const from = range.start.line + 1;
  const to = range.end.line + 1;
  return from === to
    ? vscode.l10n.t('{0} · line {1}', name, from)
    : vscode.l10n.t('{0} · lines {1} to {2}', name, from, to);
}

function taskTitle(task: TaskName): string {
  switch (task) {
    case 'explain':
      return vscode.l10n.t('Explanation');
    case 'summarize':
      return vscode.l10n.t('Summary');
    case 'ask':
    case 'generate':
      return vscode.l10n.t('Answer');
  }
}
