/** What is kept of one answer. Pure, so that reading and writing are tested without an editor. */
import type { RunResult, TaskName } from '../../server/protocol';
import type { Excerpt } from '../locate';
import type { Span } from '../span';

/** What the user wanted to know. */
export interface Asked {
  readonly task: TaskName;
  /** For `ask`, as the model is asked. */
  readonly question?: string;
  /** How the question is shown, if not by its own words. */
  readonly shown?: string;
  /** For `generate`: the prompt set that was run. Its name as it was then. */
  readonly prompts?: { readonly id: string; readonly name: string };
}

/** All of a result but its tokens. */
export interface KeptResult extends Omit<RunResult, 'ids' | 'promptIds'> {
  /** Of a prompt set: indices of its examples that were left away. */
  readonly dropped?: readonly number[];
}

/** Where an answer belongs. */
export interface Subject extends Span {
  readonly uri: string;
  readonly languageId: string;
  /** The answer is about the file as a whole. */
  readonly whole?: boolean;
  readonly excerpt: Excerpt;
}

export interface Entry {
  readonly id: string;
  /** When the answer was complete, in milliseconds since 1970. */
  readonly time: number;
  readonly asked: Asked;
  readonly subject: Subject;
  /** As shown: without what the thread adds. */
  readonly answer: string;
  readonly seconds: number;
  readonly result: KeptResult;
}

/** Without what is of no use later, and as long as the text itself. */
export function keptResult({ ids: _ids, promptIds: _promptIds, ...kept }: RunResult): KeptResult {
  return kept;
}

/** The entry of one line of the history's file; undefined for a line that is broken or of another version. */
export function parseEntry(line: string): Entry | undefined {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return undefined;
  }
  return isEntry(value) ? value : undefined;
}

const TASKS: readonly unknown[] = ['explain', 'summarize', 'ask', 'generate'] satisfies TaskName[];

function isEntry(value: unknown): value is Entry {
  if (!isObject(value)) return false;
  const { id, time, asked, subject, answer, seconds, result } = value;
  if (typeof id !== 'string' || typeof time !== 'number' || typeof answer !== 'string') return false;
  if (typeof seconds !== 'number' || !isObject(asked) || !TASKS.includes(asked['task'])) return false;
  if (!isObject(subject) || typeof subject['uri'] !== 'string' || typeof subject['languageId'] !== 'string')
    return false;
  if (!isPlace(subject['start']) || !isPlace(subject['end']) || !isObject(subject['excerpt'])) return false;
  if (typeof subject['excerpt']['head'] !== 'string' || !isObject(result)) return false;
  return (
    typeof result['model'] === 'string' &&
    typeof result['device'] === 'string' &&
    isObject(result['read']) &&
    Array.isArray(result['substitutions'])
  );
}

function isPlace(value: unknown): boolean {
  return isObject(value) && Number.isInteger(value['line']) && Number.isInteger(value['character']);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null;
}
