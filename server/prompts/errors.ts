/** Errors about prompt sets and tables. Each says where, so that an editor can go there. */
import { FlanError } from '../errors';
import { inEnglish, type Saying, say } from '../saying';

/** A prompt set's file that cannot be read as one. The file is left as it is. */
export class PromptSetFileError extends FlanError {
  /** As it was named to the reader. */
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** Without file and line. */
  readonly why: Saying;

  constructor(file: string, line: number, why: Saying) {
    super('prompt-set-file', say('{0}, line {1}: {2} Correct it there; the file was not changed.', file, line, why));
    this.file = file;
    this.line = line;
    this.why = why;
  }

  /** `why` in English. */
  get reason(): string {
    return inEnglish(this.why);
  }
}

/** A set that is in order as a file, but cannot be run as it is. */
export class PromptSetNotReadyError extends FlanError {
  constructor(problem: Saying) {
    super('prompt-set-not-ready', problem);
  }
}

/** There is no set of that name, neither among the files nor in the gallery. */
export class UnknownPromptSetError extends FlanError {
  constructor(name: string, known: readonly string[]) {
    super(
      'unknown-prompt-set',
      known.length === 0
        ? say('There is no prompt set "{0}". There is none at all.', name)
        : say('There is no prompt set "{0}". There are: {1}.', name, known.join(', ')),
    );
  }
}

/** The instruction, the examples and the query are longer than the model's window. */
export class PromptSetTooLongError extends FlanError {
  /** Indices (into `set.examples`) of the examples that do not fit; empty when even without examples it is too long. */
  readonly examples: readonly number[];

  constructor(tokens: number, window: number, examples: readonly number[]) {
    super('prompt-set-too-long', tooLong(tokens, window, examples));
    this.examples = examples;
  }
}

/** A table that cannot be read. `line`: 1-based line of the text where the trouble begins. */
export class TableError extends FlanError {
  readonly line: number;
  /** Without the line. */
  readonly why: Saying;

  /** `file` where the reader does not know which table is meant. */
  constructor(line: number, why: Saying, file?: string) {
    super('table', file === undefined ? say('Line {0}: {1}', line, why) : say('{0}, line {1}: {2}', file, line, why));
    this.line = line;
    this.why = why;
  }

  /** `why` in English. */
  get reason(): string {
    return inEnglish(this.why);
  }
}

function tooLong(tokens: number, window: number, examples: readonly number[]): Saying {
  if (examples.length === 0) {
    return say(
      'The prompt has {0} tokens, the model reads {1}, and instruction and input alone are more than that: shorten them.',
      tokens,
      window,
    );
  }
  const numbers = listed(examples);
  return examples.length === 1
    ? say(
        'The prompt has {0} tokens, the model reads {1}: example {2} does not fit. Switch it off, shorten it, or let it be left away.',
        tokens,
        window,
        numbers,
      )
    : say(
        'The prompt has {0} tokens, the model reads {1}: examples {2} do not fit. Switch them off, shorten them, or let them be left away.',
        tokens,
        window,
        numbers,
      );
}

/** `4`, `4-6, 9`: numbers as people count, from 1. */
function listed(indices: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const index of indices) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === index - 1) last[1] = index;
    else runs.push([index, index]);
  }
  const names = runs.map(([from, to]) => (from === to ? `${from + 1}` : `${from + 1}-${to + 1}`));
  return names.join(', ');
}
