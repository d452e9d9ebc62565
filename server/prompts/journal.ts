/**
 * What a run on many inputs has done so far, as JSON lines that are only ever appended to: a run that was stopped, or whose
 * computer was, goes on from there. Results are found again by their input's text, so lines may be added to the file in
 * between. The set and the model must be the same; a journal of another set is not read. Pure.
 */
import type { PromptOutcome, WhenTooLong } from '../protocol';
import { type PromptSet, shownExamples } from './set';

/** What answers depend on, besides the input. */
export interface RunIdentity {
  readonly set: PromptSet;
  /** Name of the model that answers. */
  readonly model: string;
  readonly weights: string;
  readonly whenTooLong: WhenTooLong;
}

/** The first line of a journal, new line included. */
export function journalHeader(identity: RunIdentity): string {
  return `${JSON.stringify({ flanRun: 1, ...identityOf(identity) })}\n`;
}

/** One line, new line included. */
export function journalLine(input: string, outcome: PromptOutcome): string {
  return `${JSON.stringify({ input, outcome })}\n`;
}

/**
 * The outcomes that a journal holds, by input; undefined when it belongs to another set, model or version, or is no
 * journal. Failures are not kept: their cause may be gone. A last line that was cut off is left out.
 */
export function readJournal(text: string, identity: RunIdentity): Map<string, PromptOutcome> | undefined {
  const [header = '', ...lines] = text.split('\n');
  if (`${header}\n` !== journalHeader(identity)) return undefined;
  const outcomes = new Map<string, PromptOutcome>();
  for (const line of lines) {
    const entry = entryOf(line);
    if (entry?.outcome.kind === 'answered') outcomes.set(entry.input, entry.outcome);
  }
  return outcomes;
}

function entryOf(line: string): { readonly input: string; readonly outcome: PromptOutcome } | undefined {
  try {
    // Written by `journalLine`; what a crash cut off is no JSON.
    const value = JSON.parse(line) as { readonly input?: unknown; readonly outcome?: PromptOutcome } | null;
    if (typeof value?.input !== 'string' || value.outcome === undefined) return undefined;
    return { input: value.input, outcome: value.outcome };
  } catch {
    return undefined;
  }
}

/** Name, description and the examples that are switched off change no answer. */
function identityOf({ set, model, weights, whenTooLong }: RunIdentity): object {
  const { instruction, form, options, generation } = set;
  const examples = shownExamples(set).map((index) => [set.examples[index]?.input, set.examples[index]?.output]);
  return { model, weights, whenTooLong, instruction, form, options, generation, examples };
}
