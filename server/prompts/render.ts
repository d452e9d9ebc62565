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

export interface Problem {
  /** Index of the example that it is about. */
  readonly example?: number;
  readonly message: string;
}

/** What keeps a set from being run as it is; empty when nothing does. Examples that are switched off are not looked at. */
export function problemsOf(set: PromptSet): Problem[] {
  const problems: Problem[] = [];
  const labels = labelsOf(set.form);
  if (labels.input.trim() === '' || labels.output.trim() === '') {
    problems.push({ message: 'A label is empty: give both labels a word, or choose another form.' });
  }
  const options = set.options?.map((option) => option.trim());
  if (options !== undefined && options.length > 0) {
    if (options.length === 1) problems.push({ message: 'One option is no choice: give at least two, or none.' });
    if (options.includes('')) problems.push({ message: 'An option is empty: fill it in or remove it.' });
    const twice = options.find((option, at) => option !== '' && options.indexOf(option) < at);
    if (twice !== undefined) problems.push({ message: `The option '${twice}' is there twice: remove one.` });
  }
  const { beams = 1, votes = 1, temperature, seed } = set.generation ?? {};
  if (beams > 1 && votes > 1) problems.push({ message: 'Beams and votes exclude each other: set only one of them.' });
  if (votes === 1 && (temperature !== undefined || seed !== undefined)) {
    problems.push({ message: 'Temperature and seed are for votes: set the number of votes, or remove them.' });
  }
  if (set.instruction.trim() === '' && shownExamples(set).length === 0) {
    problems.push({ message: 'The set tells the model nothing: write an instruction or add an example.' });
  }
  for (const example of shownExamples(set)) {
    const { input = '', output = '' } = set.examples[example] ?? {};
    const number = example + 1;
    if (input.trim() === '')
      problems.push({ example, message: `Example ${number} has no input: fill it in or switch it off.` });
    else if (output.trim() === '')
      problems.push({ example, message: `Example ${number} has no output: fill it in or switch it off.` });
    else if (options !== undefined && options.length > 0 && !options.includes(output.trim())) {
      problems.push({
        example,
        message: `The output of example ${number} is none of the options: correct it, add it to the options, or switch the example off.`,
      });
    }
  }
  return problems;
}
