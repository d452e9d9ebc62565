import * as vscode from 'vscode';
import { plainAsMarkdown } from '../markdown';
import { askedTitle, fileName, linesText } from '../tasks';
import { Dates, startOfDay } from './dates';
import type { Entry } from './entry';
import type { History } from './history';

export const HISTORY_VIEW = 'flan.history';
export const REOPEN_COMMAND = 'flan.history.reopen';

/** The answers of one day. */
interface Day {
  readonly title: string;
  readonly entries: Entry[];
}

type Node = Day | Entry;

function isDay(node: Node): node is Day {
  return 'entries' in node;
}

/** The history as a tree: days, and under them answers, the newest first. */
export class HistoryView implements vscode.Disposable, vscode.TreeDataProvider<Node> {
  private readonly history: History;
  readonly onDidChangeTreeData: vscode.Event<void>;
  private readonly dates = new Dates(vscode.env.language);
  private readonly view: vscode.Disposable;

  constructor(history: History) {
    this.history = history;
    this.onDidChangeTreeData = history.onDidChange;
    this.view = vscode.window.createTreeView(HISTORY_VIEW, { treeDataProvider: this, showCollapseAll: true });
  }

  async getChildren(node?: Node): Promise<Node[]> {
    if (node === undefined) return byDay(await this.history.entries(), this.dates);
    return isDay(node) ? node.entries : [];
  }

  getTreeItem(node: Node): vscode.TreeItem {
    if (isDay(node)) return new vscode.TreeItem(node.title, vscode.TreeItemCollapsibleState.Expanded);
    const item = new vscode.TreeItem(titleOf(node), vscode.TreeItemCollapsibleState.None);
    item.id = node.id;
    item.description = oneLine(node.answer);
    item.iconPath = new vscode.ThemeIcon(ICONS[node.asked.task]);
    item.contextValue = 'answer';
    item.command = { command: REOPEN_COMMAND, title: vscode.l10n.t('Show the Answer at Its Text'), arguments: [node] };
    item.accessibilityInformation = { label: [titleOf(node), placeOf(node), node.answer].join(', ') };
    return item;
  }

  /** What the mouse is on; to make it for all of them would take a hundred times as long. */
  resolveTreeItem(item: vscode.TreeItem, node: Node): vscode.TreeItem {
    if (!isDay(node)) item.tooltip = tooltip(node, this.dates);
    return item;
  }

  dispose(): void {
    this.view.dispose();
  }
}

const ICONS: Readonly<Record<Entry['asked']['task'], string>> = {
  explain: 'lightbulb',
  summarize: 'list-flat',
  ask: 'question',
  generate: 'edit-sparkle',
};

/** The question, else what was done with which file. */
export function titleOf({ asked, subject }: Entry): string {
  return (
    asked.shown ??
    asked.question ??
    vscode.l10n.t('{0} of {1}', askedTitle(asked), fileName(vscode.Uri.parse(subject.uri)))
  );
}

/** `retry.py · lines 4 to 12`, as the file was then. */
export function placeOf({ subject }: Entry): string {
  const place = subject.whole === true ? vscode.l10n.t('the whole file') : linesText(subject);
  return `${fileName(vscode.Uri.parse(subject.uri))} · ${place}`;
}

export function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').trim();
}

function tooltip(entry: Entry, dates: Dates): vscode.MarkdownString {
  const { result, answer, time } = entry;
  const facts = [placeOf(entry), result.model, dates.clock(time)].join(' · ');
  const text = new vscode.MarkdownString(
    `**${plainAsMarkdown(titleOf(entry))}**\n\n${plainAsMarkdown(answer)}\n\n${plainAsMarkdown(facts)}`,
  );
  text.supportHtml = true;
  return text;
}

function byDay(entries: readonly Entry[], dates: Dates): Day[] {
  const days: Day[] = [];
  const now = Date.now();
  let start: number | undefined;
  for (const entry of entries) {
    const last = days.at(-1);
    if (last !== undefined && startOfDay(entry.time) === start) {
      last.entries.push(entry);
      continue;
    }
    start = startOfDay(entry.time);
    days.push({ title: dayTitle(start, startOfDay(now), dates), entries: [entry] });
  }
  return days;
}

function dayTitle(day: number, today: number, dates: Dates): string {
  if (day === today) return vscode.l10n.t('Today');
  if (day === startOfDay(today - 1)) return vscode.l10n.t('Yesterday');
  return dates.day(day);
}
