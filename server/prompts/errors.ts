/** Errors about prompt sets and tables. Each says where, so that an editor can go there. */
import { FlanError } from '../errors';

/** A prompt set's file that cannot be read as one. The file is left as it is. */
export class PromptSetFileError extends FlanError {
  /** As it was named to the reader. */
  readonly file: string;
  /** 1-based. */
  readonly line: number;
  /** Without file and line. */
  readonly reason: string;

  constructor(file: string, line: number, reason: string) {
    super('prompt-set-file', `${file}, line ${line}: ${reason} Correct it there; the file was not changed.`);
    this.file = file;
    this.line = line;
    this.reason = reason;
  }
}

/** A set that is in order as a file, but cannot be run as it is. */
export class PromptSetNotReadyError extends FlanError {
  constructor(problem: string) {
    super('prompt-set-not-ready', problem);
  }
}

/** There is no set of that name, neither among the files nor in the gallery. */
export class UnknownPromptSetError extends FlanError {
  constructor(name: string, known: readonly string[]) {
    const list = known.length === 0 ? 'There is none' : `There are: ${known.join(', ')}`;
    super('unknown-prompt-set', `There is no prompt set '${name}'. ${list}.`);
  }
}

/** The instruction, the examples and the query are longer than the model's window. */
export class PromptSetTooLongError extends FlanError {
  /** Indices (into `set.examples`) of the examples that do not fit; empty when even without examples it is too long. */
  readonly examples: readonly number[];

  constructor(tokens: number, window: number, examples: readonly number[]) {
    const size = `The prompt has ${tokens} tokens, the model reads ${window}`;
    super(
      'prompt-set-too-long',
      examples.length === 0
        ? `${size}, and instruction and input alone are more than that: shorten them.`
        : `${size}: ${listed(examples)} not fit. Switch them off, shorten them, or let them be left away.`,
    );
    this.examples = examples;
  }
}

/** A table that cannot be read. `line`: 1-based line of the text where the trouble begins. */
export class TableError extends FlanError {
  readonly line: number;
  readonly reason: string;

  constructor(line: number, reason: string) {
    super('table', `Line ${line}: ${reason}`);
    this.line = line;
    this.reason = reason;
  }
}

/** `example 4 does`, `examples 4-6 and 9 do`: numbers as people count, from 1. */
function listed(indices: readonly number[]): string {
  const runs: [number, number][] = [];
  for (const index of indices) {
    const last = runs.at(-1);
    if (last !== undefined && last[1] === index - 1) last[1] = index;
    else runs.push([index, index]);
  }
  const names = runs.map(([from, to]) => (from === to ? `${from + 1}` : `${from + 1}-${to + 1}`));
  const all = names.length > 1 ? `${names.slice(0, -1).join(', ')} and ${names.at(-1)}` : names.join('');
  return indices.length === 1 ? `example ${all} does` : `examples ${all} do`;
}
