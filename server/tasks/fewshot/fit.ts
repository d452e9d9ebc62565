/**
 * A prompt set as one model reads it: the few-shot form with stand-ins for what the vocabulary lacks, whole or with the
 * examples that fit. The tokenizer is asked about whole prompts; nothing is estimated.
 */
import { PromptSetTooLongError } from '../../prompts/errors';
import { type Sections, sectionsOf } from '../../prompts/render';
import { labelsOf, type PromptSet, shownExamples } from '../../prompts/set';
import type { WhenTooLong } from '../../protocol';
import type { Plan } from '../../text/substitute';
import { substituterOf, type TaskModel } from '../model';

/** What is needed of a model to know its prompts: no engine. */
export type Reader = Pick<TaskModel, 'codec' | 'profile'>;

export interface FitOptions {
  /** Default `refuse`. */
  readonly whenTooLong?: WhenTooLong | undefined;
  /** Index of an example that is not shown: it is the query. Its output is written with the same stand-ins. */
  readonly leaveOut?: number | undefined;
}

export interface FittedSet {
  /** End token included, at most `window` of them. */
  readonly ids: readonly number[];
  /** The prompt as the model is given it. */
  readonly text: string;
  readonly plan: Plan;
  /** Indices of the examples that were left away. */
  readonly dropped: readonly number[];
  readonly window: number;
}

/** @throws PromptSetTooLongError */
export function fitSet(reader: Reader, set: PromptSet, input: string, options: FitOptions = {}): FittedSet {
  const { window } = reader.profile;
  const shown = shownExamples(set).filter((index) => index !== options.leaveOut);
  const first = (count: number) => writtenPrompt(reader, set, input, shown.slice(0, count), options.leaveOut);
  const fitted = (count: number, prompt: WrittenPrompt): FittedSet => ({
    ...prompt,
    dropped: shown.slice(count),
    window,
  });

  const fits = (count: number) => first(count).ids.length <= window;
  if (options.whenTooLong === 'drop' && isPlainlyTooLong(set, shown, window)) {
    const most = mostThatFit(shown.length + 1, fits);
    if (most === undefined) throw new PromptSetTooLongError(first(0).ids.length, window, []);
    return fitted(most, first(most));
  }
  const whole = first(shown.length);
  if (whole.ids.length <= window) return fitted(shown.length, whole);
  const most = mostThatFit(shown.length, fits);
  if (most === undefined) throw new PromptSetTooLongError(whole.ids.length, window, []);
  if (options.whenTooLong !== 'drop') {
    throw new PromptSetTooLongError(whole.ids.length, window, shown.slice(most));
  }
  return fitted(most, first(most));
}

/** Worth not looking at the whole: no vocabulary in use writes more than 32 characters with one token, runs of spaces apart. */
function isPlainlyTooLong(set: PromptSet, shown: readonly number[], window: number): boolean {
  const lengths = shown.map(
    (index) => (set.examples[index]?.input.length ?? 0) + (set.examples[index]?.output.length ?? 0),
  );
  return lengths.reduce((sum, length) => sum + length, 0) > window * 32;
}

/**
 * The largest number of examples below `limit` for which a prompt fits; undefined when none does, not even 0. Prompts
 * longer than twice what fits are never looked at: of ten thousand examples some hundred have room.
 */
export function mostThatFit(limit: number, fits: (count: number) => boolean): number | undefined {
  if (!fits(0)) return undefined;
  let least = 0;
  let most = 1;
  while (most < limit && fits(most)) {
    least = most;
    most *= 2;
  }
  most = Math.min(most, limit) - 1;
  while (least < most) {
    const middle = (least + most + 1) >> 1;
    if (fits(middle)) least = middle;
    else most = middle - 1;
  }
  return least;
}

export type WrittenPrompt = Pick<FittedSet, 'ids' | 'text' | 'plan'>;

/** The prompt with these examples, of any length. */
export function writtenPrompt(
  reader: Reader,
  set: PromptSet,
  input: string,
  shown: readonly number[],
  leaveOut?: number,
): WrittenPrompt {
  const { head, examples, query, plan } = writtenSections(reader, set, input, shown, leaveOut);
  const text = head + examples.join('') + query;
  return { ids: reader.codec.encode(text), text, plan };
}

/** The sections of that prompt. What the family wants around worked examples is part of the first and the last one. */
export function writtenSections(
  reader: Reader,
  set: PromptSet,
  input: string,
  shown: readonly number[],
  leaveOut?: number,
): Sections & { readonly plan: Plan } {
  const plan = planOf(reader, set, input, leaveOut === undefined ? shown : [...shown, leaveOut]);
  const writing = { text: plan.apply, frame: plan.applyFrame };
  const { head, examples, query } = sectionsOf(set, input, shown, writing);
  const { before, end } = reader.profile.fewShot ?? { before: '', end: '' };
  return { head: before + head, examples, query: query + end, plan };
}

/**
 * Stand-ins that none of the texts has. New lines inside of texts are written as marks if an output has any, since the
 * model could not write them otherwise; where no output has one they only cost tokens.
 */
function planOf({ codec }: Reader, set: PromptSet, input: string, known: readonly number[]): Plan {
  const labels = labelsOf(set.form);
  const outputs: string[] = [];
  const inputs: string[] = [input.trim()];
  for (const index of known) {
    const example = set.examples[index];
    if (example === undefined) continue;
    inputs.push(example.input.trim());
    outputs.push(example.output.trim());
  }
  // The lines of the form itself, and of an instruction, are no loss.
  const frame = `${set.instruction} ${labels.input} ${labels.output}`.replaceAll(/\s+/g, ' ');
  const policy = outputs.some((output) => output.includes('\n')) ? 'mark' : 'fold';
  return substituterOf(codec).plan([frame, ...(set.options ?? []), ...inputs, ...outputs].join(' '), policy);
}
