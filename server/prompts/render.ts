/**
 * The few-shot form: instruction, options, examples, and the query with an open answer, as Flan's training mixtures put
 * them. Pure: the text for people. What the model is given has the same sections, with stand-ins for what its vocabulary
 * lacks (tasks/fewshot/fit.ts).
 */
import { labelsOf, type PromptSet, shownExamples } from './set';

/** Joined, they are the prompt. Every section but the last ends in a blank line. */
export interface Sections {
  /** Instruction and options; empty when there are neither. */
  readonly head: string;
  /** One for each of the examples asked for. */
  readonly examples: readonly string[];
  readonly query: string;
}

/** How words are written: those of the user, and those of the form around them. */
export interface Writing {
  readonly text: (text: string) => string;
  readonly frame: (words: string) => string;
}

const AS_IT_IS: Writing = { text: (text) => text, frame: (words) => words };

/**
 * @param shown indices of the examples to show, in order; by default those that are switched on
 */
export function sectionsOf(
  set: PromptSet,
  input: string,
  shown: readonly number[] = shownExamples(set),
  writing: Writing = AS_IT_IS,
): Sections {
  const { text, frame } = writing;
  const labels = labelsOf(set.form);
  const before = frame(withColon(labels.input));
  const after = frame(withColon(labels.output));
  const instruction = set.instruction.trim();
  const options = set.options ?? [];
  const head = [
    ...(instruction === '' ? [] : [frame(instruction)]),
    ...(options.length === 0 ? [] : [[frame('OPTIONS:'), ...options.map((o) => `- ${text(o.trim())}`)].join('\n')]),
  ].map((part) => `${part}\n\n`);
  return {
    head: head.join(''),
    examples: shown.flatMap((index) => {
      const example = set.examples[index];
      if (example === undefined) return [];
      return [`${before} ${text(example.input.trim())}\n${after} ${text(example.output.trim())}\n\n`];
    }),
    query: `${before} ${text(input.trim())}\n${after}`,
  };
}

/** The whole prompt as people read it. */
export function promptText(set: PromptSet, input: string, shown?: readonly number[]): string {
  const { head, examples, query } = sectionsOf(set, input, shown);
  return head + examples.join('') + query;
}

/** A label that ends in a sign of its own (`Text >`, `=>`) gets no colon. */
function withColon(label: string): string {
  const trimmed = label.trim();
  return /[\p{L}\p{N})\]]$/u.test(trimmed) ? `${trimmed}:` : trimmed;
}
