/** What keeps a set from being run, though its file is in order: half an example, one option, contradictory settings. */
import { type Saying, say } from '../saying';
import { labelsOf, type PromptSet, shownExamples } from './set';

/** For front ends that say it in another language. */
export type ProblemCode =
  | 'empty-label'
  | 'one-option'
  | 'empty-option'
  | 'same-option'
  | 'beams-and-votes'
  | 'sampling-without-votes'
  | 'nothing-to-show'
  | 'empty-input'
  | 'empty-output'
  | 'not-an-option';

export interface Problem {
  readonly code: ProblemCode;
  /** Index of the example that it is about. */
  readonly example?: number;
  /** What is wrong and what to do. */
  readonly saying: Saying;
}

/** Empty when the set can be run. Examples that are switched off are not looked at. */
export function problemsOf(set: PromptSet): Problem[] {
  const labels = labelsOf(set.form);
  const { beams = 1, votes = 1, temperature, seed } = set.generation ?? {};
  const shown = shownExamples(set);
  const problems: Problem[] = [];
  const found = (there: boolean, code: ProblemCode, saying: Saying) => {
    if (there) problems.push({ code, saying });
  };
  found(
    labels.input.trim() === '' || labels.output.trim() === '',
    'empty-label',
    say('A label is empty: give both labels a word, or choose another form.'),
  );
  problems.push(...problemsOfOptions(set));
  found(beams > 1 && votes > 1, 'beams-and-votes', say('Beams and votes exclude each other: set only one of them.'));
  found(
    votes === 1 && (temperature !== undefined || seed !== undefined),
    'sampling-without-votes',
    say('Temperature and seed are for votes: set the number of votes, or remove them.'),
  );
  found(
    set.instruction.trim() === '' && shown.length === 0,
    'nothing-to-show',
    say('The set tells the model nothing: write an instruction or add an example.'),
  );
  return [...problems, ...shown.flatMap((example) => problemOf(set, example) ?? [])];
}

function problemsOfOptions(set: PromptSet): Problem[] {
  const options = set.options?.map((option) => option.trim()) ?? [];
  const problems: Problem[] = [];
  if (options.length === 1) {
    problems.push({ code: 'one-option', saying: say('One option is no choice: give at least two, or none.') });
  }
  if (options.includes('')) {
    problems.push({ code: 'empty-option', saying: say('An option is empty: fill it in or remove it.') });
  }
  const twice = options.find((option, at) => option !== '' && options.indexOf(option) < at);
  if (twice !== undefined) {
    problems.push({ code: 'same-option', saying: say('The option "{0}" is there twice: remove one.', twice) });
  }
  return problems;
}

function problemOf(set: PromptSet, example: number): Problem | undefined {
  const { input = '', output = '' } = set.examples[example] ?? {};
  const number = example + 1;
  if (input.trim() === '') {
    return {
      code: 'empty-input',
      example,
      saying: say('Example {0} has no input: fill it in or switch it off.', number),
    };
  }
  if (output.trim() === '') {
    return {
      code: 'empty-output',
      example,
      saying: say('Example {0} has no output: fill it in or switch it off.', number),
    };
  }
  const options = set.options?.map((option) => option.trim()) ?? [];
  if (options.length === 0 || options.includes(output.trim())) return undefined;
  return {
    code: 'not-an-option',
    example,
    saying: say(
      'The output of example {0} is none of the options: correct it, add it to the options, or switch the example off.',
      number,
    ),
  };
}
