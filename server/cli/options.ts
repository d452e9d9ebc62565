/** The command line's options: what each command takes, read with node:util's parseArgs and checked. Wrong usage is a UsageError. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { UsageError } from '../errors';
import { resolveDecoding } from '../generate/decoding';
import type { Decoding, ModelChoice, RunParams } from '../protocol';

type OptionType = { readonly type: 'string' | 'boolean'; readonly short?: string };

const MODEL_OPTIONS = { model: { type: 'string' }, engine: { type: 'string' }, weights: { type: 'string' } } as const;
const DECODING_OPTIONS = {
  'max-new-tokens': { type: 'string' },
  beams: { type: 'string' },
  temperature: { type: 'string' },
  'top-p': { type: 'string' },
  'top-k': { type: 'string' },
  seed: { type: 'string' },
} as const;
const JSON_OPTION = { json: { type: 'boolean' } } as const;
const ASKING = { ...MODEL_OPTIONS, ...DECODING_OPTIONS, ...JSON_OPTION };
const TASK = { ...ASKING, 'mode-token': { type: 'string' } } as const;

/** Options by command; every command also takes --help. */
const OPTIONS = {
  explain: TASK,
  summarize: TASK,
  ask: TASK,
  generate: { ...ASKING, prompt: { type: 'string' }, 'prompt-file': { type: 'string' } },
  score: {
    ...MODEL_OPTIONS,
    ...JSON_OPTION,
    prompt: { type: 'string' },
    'prompt-file': { type: 'string' },
    answer: { type: 'string' },
  },
  run: {
    ...MODEL_OPTIONS,
    ...JSON_OPTION,
    jsonl: { type: 'boolean' },
    csv: { type: 'boolean' },
    input: { type: 'string' },
    whole: { type: 'boolean' },
    column: { type: 'string' },
    format: { type: 'string' },
    header: { type: 'boolean' },
    'no-header': { type: 'boolean' },
    out: { type: 'string' },
    resume: { type: 'boolean' },
    drop: { type: 'boolean' },
    check: { type: 'boolean' },
    keep: { type: 'boolean' },
    'dry-run': { type: 'boolean' },
    list: { type: 'boolean' },
  },
  convert: { ...JSON_OPTION, out: { type: 'string' } },
  pull: { ...JSON_OPTION, name: { type: 'string' }, 'keep-original': { type: 'boolean' } },
  rm: JSON_OPTION,
  verify: JSON_OPTION,
  models: { ...JSON_OPTION, available: { type: 'boolean' } },
  doctor: { ...JSON_OPTION, model: { type: 'string' } },
  bench: {
    ...MODEL_OPTIONS,
    ...JSON_OPTION,
    'source-tokens': { type: 'string' },
    'new-tokens': { type: 'string' },
    table: { type: 'boolean' },
  },
  status: JSON_OPTION,
  stop: JSON_OPTION,
} as const satisfies Record<string, Readonly<Record<string, OptionType>>>;

export type CommandName = keyof typeof OPTIONS;

export interface Command {
  readonly name: CommandName;
  /** What is no option, in order. */
  readonly positionals: readonly string[];
  readonly json: boolean;
  /** Whether an option without a value was given. */
  readonly has: (name: string) => boolean;
  /** The value of an option; undefined when it was not given. */
  readonly value: (name: string) => string | undefined;
}

export type Parsed =
  | { readonly kind: 'command'; readonly command: Command }
  | { readonly kind: 'help'; readonly of: CommandName | undefined }
  | { readonly kind: 'version' };

export function isCommand(name: string): name is CommandName {
  return Object.hasOwn(OPTIONS, name);
}

/** Reads the arguments after `flan`. Throws UsageError. */
export function parse(args: readonly string[]): Parsed {
  const [first, ...rest] = args;
  if (first === undefined || first === '--help' || first === '-h') return { kind: 'help', of: undefined };
  if (first === '--version' || first === '-v') return { kind: 'version' };
  if (first === 'help') {
    const of = rest[0];
    if (of !== undefined && !isCommand(of)) throw unknownCommand(of);
    return { kind: 'help', of };
  }
  if (!isCommand(first)) throw unknownCommand(first);
  const { values, positionals } = read(first, rest);
  if (values['help'] === true) return { kind: 'help', of: first };
  const value = (name: string) => {
    const found = values[name];
    return typeof found === 'string' ? found : undefined;
  };
  const has = (name: string) => values[name] === true;
  return { kind: 'command', command: { name: first, positionals, json: values['json'] === true, has, value } };
}

function read(name: CommandName, args: readonly string[]) {
  const options = { ...OPTIONS[name], help: { type: 'boolean', short: 'h' } } as const;
  try {
    return parseArgs({ args: [...args], options, allowPositionals: true, strict: true }) as {
      values: Record<string, string | boolean | undefined>;
      positionals: string[];
    };
  } catch (error) {
    // parseArgs explains at length how to pass what looks like an option; its first sentence says what is wrong.
    const reason = error instanceof Error ? error.message.split(/\. |\n/)[0] : String(error);
    throw new UsageError(`${reason}. See: flan ${name} --help`);
  }
}

function unknownCommand(name: string): UsageError {
  return new UsageError(`There is no command '${name}'. See: flan --help`);
}

/** `--model`, `--engine`, `--weights`. A model that is a path is made absolute: the server runs elsewhere. */
export function modelChoice(command: Command): ModelChoice {
  const model = command.value('model');
  const engine = oneOf(command, 'engine', ['auto', 'cpu', 'webgpu', 'cuda'] as const);
  const weights = oneOf(command, 'weights', ['int8', 'fp32'] as const);
  if (model === '') throw new UsageError('--model needs the name or the folder of a model. See: flan models');
  return {
    ...(model === undefined ? {} : { model: modelPath(model) }),
    ...(engine === undefined ? {} : { engine }),
    ...(weights === undefined ? {} : { weights }),
  };
}

/** A name (also one of the hub, `google/flan-ul2`) stays a name unless it is written as a path or a folder is there. */
export function modelPath(model: string): string {
  const isPath = /^\.{0,2}[/\\]|^\.{1,2}$/.test(model) || existsSync(model);
  return isPath ? resolve(model) : model;
}

/** `--mode-token`, for UL2. */
export function modeToken(command: Command): Pick<RunParams, 'modeToken'> {
  const mode = oneOf(command, 'mode-token', ['auto', 'NLU', 'NLG', 'S2S', 'none'] as const);
  return mode === undefined ? {} : { modeToken: mode };
}

/** The decoding options, checked as a whole. Throws UsageError. */
export function decoding(command: Command): Decoding {
  const fields = {
    maxNewTokens: optionalNumber(command, 'max-new-tokens'),
    beams: optionalNumber(command, 'beams'),
    temperature: optionalNumber(command, 'temperature'),
    topP: optionalNumber(command, 'top-p'),
    topK: optionalNumber(command, 'top-k'),
    seed: optionalNumber(command, 'seed'),
  };
  const given: Decoding = Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
  resolveDecoding(given);
  return given;
}

interface Limits {
  readonly min?: number;
  readonly max?: number;
  readonly integer?: boolean;
}

export function optionalNumber(command: Command, option: string, limits: Limits = {}): number | undefined {
  const text = command.value(option);
  if (text === undefined) return undefined;
  const { min = Number.NEGATIVE_INFINITY, max = Number.POSITIVE_INFINITY, integer = false } = limits;
  const value = text.trim() === '' ? Number.NaN : Number(text);
  if (!Number.isFinite(value) || value < min || value > max || (integer && !Number.isInteger(value))) {
    const kind = integer ? 'a whole number' : 'a number';
    const range =
      min === Number.NEGATIVE_INFINITY
        ? ''
        : max === Number.POSITIVE_INFINITY
          ? ` of at least ${min}`
          : ` from ${min} to ${max}`;
    throw new UsageError(`--${option} must be ${kind}${range}, not '${text}'.`);
  }
  return value;
}

export function oneOf<const V extends string>(command: Command, option: string, values: readonly V[]): V | undefined {
  const text = command.value(option);
  if (text === undefined) return undefined;
  const found = values.find((value) => value === text);
  if (found === undefined) throw new UsageError(`--${option} must be ${values.join(', ')}, not '${text}'.`);
  return found;
}
