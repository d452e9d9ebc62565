/**
 * The text of a prompt set's file: read with errors that name the line, written so that an edit is a small diff. Texts of
 * several lines are arrays of lines in the file, since one long string full of `\n` cannot be reviewed.
 */
import { UsageError } from '../errors';
import { type Saying, say } from '../saying';
import { PromptSetFileError } from './errors';
import { JsonError, type LocatedJson, type Path, parseJson } from './json';
import {
  type Example,
  type Form,
  type Generation,
  MAX_OPTIONS,
  MAX_VOTES,
  PROMPT_SET_VERSION,
  type PromptSet,
} from './set';

/** Where the schema lies beside the sets; see prompts/store.ts. */
export const SCHEMA_REFERENCE = '../prompt-set.schema.json';
/** A set of more characters is no set of examples for a window of some thousand tokens, but another file. */
export const MAX_FILE_CHARS = 4_000_000;
export const MAX_EXAMPLES = 10_000;
export const MAX_NAME_CHARS = 120;

type Fields = Readonly<Record<string, unknown>>;

/**
 * @param text content of the file
 * @param file its name, for messages
 * @throws PromptSetFileError
 */
export function parsePromptSet(text: string, file: string): PromptSet {
  if (text.length > MAX_FILE_CHARS) {
    throw new PromptSetFileError(
      file,
      1,
      say('The file has {0} characters, at most {1} are read.', text.length, MAX_FILE_CHARS),
    );
  }
  try {
    return new SetReader(parseJson(text), file).set();
  } catch (error) {
    if (error instanceof JsonError) throw new PromptSetFileError(file, error.line, error.why);
    throw error;
  }
}

/**
 * The same checks for a set that came by another way than a file.
 * @throws UsageError
 */
export function checkPromptSet(value: unknown): PromptSet {
  try {
    return new SetReader({ value, lineOf: () => 1 }, '').set();
  } catch (error) {
    if (error instanceof PromptSetFileError)
      throw new UsageError(say('The prompt set is not in order: {0}', error.why));
    throw error;
  }
}

/** The same text for the same set: fields in a fixed order, unknown ones before the examples, a new line at the end. */
export function formatPromptSet(set: PromptSet): string {
  const { version, name, description, instruction, form, options, generation, examples, ...unknown } = set;
  const { $schema = SCHEMA_REFERENCE, ...others } = unknown as Fields;
  const ordered = {
    $schema,
    version,
    name,
    description: description === undefined ? undefined : asLines(description),
    instruction: asLines(instruction),
    form,
    options,
    generation,
    ...others,
    examples: examples.map(({ input, output, off, ...rest }) => ({
      input: asLines(input),
      output: asLines(output),
      off: off === true ? true : undefined,
      ...rest,
    })),
  };
  return `${JSON.stringify(ordered, null, 2)}\n`;
}

function asLines(text: string): string | string[] {
  return text.includes('\n') ? text.split('\n') : text;
}

class SetReader {
  readonly #json: LocatedJson;
  readonly #file: string;

  constructor(json: LocatedJson, file: string) {
    this.#json = json;
    this.#file = file;
  }

  set(): PromptSet {
    const fields = this.#object(this.#json.value, [], say('The file'));
    // First of all: of a newer version nothing else can be judged.
    const version = fields['version'] ?? PROMPT_SET_VERSION;
    if (version !== PROMPT_SET_VERSION) {
      const newer = typeof version === 'number' && version > PROMPT_SET_VERSION;
      const remedy = newer
        ? say('It was written by a newer Flan: update this one.')
        : say('The version is {0}.', PROMPT_SET_VERSION);
      throw this.#error(['version'], say('Version {0} cannot be read. {1}', JSON.stringify(version), remedy));
    }
    const name = this.#text(fields, [], 'name', say('The set')) ?? this.#missing([], 'name', say('The set'));
    if (name.trim() === '') throw this.#error(['name'], say('The name is empty.'));
    if (name.length > MAX_NAME_CHARS || name.includes('\n')) {
      throw this.#error(['name'], say('The name is one line of at most {0} characters.', MAX_NAME_CHARS));
    }
    const description = this.#text(fields, [], 'description', say('The set'));
    const options = this.#options(fields);
    const generation = this.#generation(fields['generation']);
    return {
      ...fields,
      version,
      name,
      ...(description === undefined ? {} : { description }),
      instruction: this.#text(fields, [], 'instruction', say('The set')) ?? '',
      form: this.#form(fields['form']),
      ...(options === undefined ? {} : { options }),
      ...(generation === undefined ? {} : { generation }),
      examples: this.#examples(fields['examples']),
    };
  }

  #form(value: unknown): Form {
    if (value === undefined) return 'qa';
    if (value === 'qa' || value === 'io') return value;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      throw this.#error(['form'], say('The form is "qa", "io", or an object with the labels "input" and "output".'));
    }
    const fields = this.#object(value, ['form'], say('The form'));
    const label = (key: 'input' | 'output') => {
      const text = fields[key] ?? this.#missing(['form'], key, say('The form'));
      if (typeof text !== 'string' || text.includes('\n')) {
        throw this.#error(['form', key], say('The label "{0}" is one line of text.', key));
      }
      return text;
    };
    return { ...fields, input: label('input'), output: label('output') };
  }

  #options(fields: Fields): readonly string[] | undefined {
    const value = fields['options'];
    if (value === undefined) return undefined;
    if (!Array.isArray(value)) throw this.#error(['options'], say('The options are a list of texts.'));
    if (value.length > MAX_OPTIONS)
      throw this.#error(['options'], say('There are more than {0} options.', MAX_OPTIONS));
    return value.map((option: unknown, at) => {
      if (typeof option !== 'string' || option.includes('\n')) {
        throw this.#error(['options', at], say('Option {0} is one line of text.', at + 1));
      }
      return option;
    });
  }

  #generation(value: unknown): Generation | undefined {
    if (value === undefined) return undefined;
    const fields = this.#object(value, ['generation'], say('"generation"'));
    this.#number(fields, 'maxNewTokens', 1, 8192, true);
    this.#number(fields, 'beams', 1, 16, true);
    this.#number(fields, 'votes', 2, MAX_VOTES, true);
    this.#number(fields, 'temperature', 0.01, 5, false);
    this.#number(fields, 'seed', 0, Number.MAX_SAFE_INTEGER, true);
    return fields;
  }

  #examples(value: unknown): readonly Example[] {
    if (value === undefined) return [];
    if (!Array.isArray(value)) throw this.#error(['examples'], say('The examples are a list.'));
    if (value.length > MAX_EXAMPLES)
      throw this.#error(['examples'], say('There are more than {0} examples.', MAX_EXAMPLES));
    return value.map((item: unknown, at) => {
      const path = ['examples', at];
      const what = say('Example {0}', at + 1);
      const { off, ...fields } = this.#object(item, path, what);
      if (off !== undefined && typeof off !== 'boolean') {
        throw this.#error([...path, 'off'], say('"off" of example {0} is true or false.', at + 1));
      }
      const input = this.#text(fields, path, 'input', what) ?? this.#missing(path, 'input', what);
      const output = this.#text(fields, path, 'output', what) ?? this.#missing(path, 'output', what);
      return { ...fields, input, output, ...(off === true ? { off } : {}) };
    });
  }

  #number(fields: Fields, name: string, least: number, most: number, whole: boolean): void {
    const value = fields[name];
    if (value === undefined) return;
    if (typeof value === 'number' && value >= least && value <= most && (!whole || Number.isInteger(value))) return;
    const kind = whole ? say('a whole number') : say('a number');
    const given = JSON.stringify(value);
    throw this.#error(
      ['generation', name],
      most === Number.MAX_SAFE_INTEGER
        ? say('"{0}" is {1} of at least {2}, not {3}.', name, kind, least, given)
        : say('"{0}" is {1} from {2} to {3}, not {4}.', name, kind, least, most, given),
    );
  }

  /** A string, or an array of lines. */
  #text(fields: Fields, path: Path, name: string, of: Saying): string | undefined {
    const value = fields[name];
    if (value === undefined || typeof value === 'string') return value;
    if (Array.isArray(value)) {
      const lines = value as readonly unknown[];
      const wrong = lines.findIndex((line) => typeof line !== 'string');
      if (wrong < 0) return lines.join('\n');
      throw this.#error([...path, name, wrong], say('{0}: line {1} of "{2}" is no text.', of, wrong + 1, name));
    }
    throw this.#error([...path, name], say('{0}: "{1}" is a text, or a list of its lines.', of, name));
  }

  #object(value: unknown, path: Path, what: Saying): Fields {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
    throw this.#error(path, say('{0} is an object.', what));
  }

  #missing(path: Path, name: string, of: Saying): never {
    throw this.#error(path, say('{0} has no "{1}".', of, name));
  }

  #error(path: Path, why: Saying): PromptSetFileError {
    return new PromptSetFileError(this.#file, this.#json.lineOf(path), why);
  }
}
