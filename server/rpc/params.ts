/** Checks what a client sent before anything is done with it. Every violation is a UsageError that names the field. */
import { UsageError } from '../errors';
import { MAX_BEAMS, MAX_NEW_TOKENS } from '../generate/decoding';
import { checkPromptSet } from '../prompts/file';
import type {
  CancelPullParams,
  CheckParams,
  CountPromptParams,
  Decoding,
  Hello,
  HubChoice,
  InstalledParams,
  LoadParams,
  ModelChoice,
  PromptParams,
  PullParams,
  RunManyParams,
  RunParams,
  RunPromptParams,
  ScoreParams,
  WhenTooLong,
} from '../protocol';

/** Longest text of a request, in UTF-16 units; a model reads a few thousand tokens of it. Keeps tokenizing within seconds. */
export const MAX_TEXT = 2 * 1024 * 1024;
type Fields = Readonly<Record<string, unknown>>;

export function runParams(value: unknown): RunParams {
  const fields = object(value);
  return {
    ...modelChoice(fields),
    ...decoding(fields),
    ...optional('question', string(fields, 'question')),
    ...optional('languageId', string(fields, 'languageId')),
    ...optional('firstLine', number(fields, 'firstLine', { min: 1, integer: true })),
    ...optional('lastLine', number(fields, 'lastLine', { min: 1, integer: true })),
    ...optional('modeToken', oneOf(fields, 'modeToken', ['auto', 'NLU', 'NLG', 'S2S', 'none'] as const)),
    ...progressToken(fields),
    task: oneOf(fields, 'task', ['explain', 'summarize', 'ask', 'generate'] as const) ?? missing('task'),
    text: string(fields, 'text') ?? missing('text'),
  };
}

export function scoreParams(value: unknown): ScoreParams {
  const fields = object(value);
  return {
    ...modelChoice(fields),
    prompt: string(fields, 'prompt') ?? missing('prompt'),
    answer: string(fields, 'answer') ?? missing('answer'),
  };
}

export function loadParams(value: unknown): LoadParams {
  const fields = object(value ?? {});
  return { ...modelChoice(fields), ...progressToken(fields) };
}

export function hubChoice(value: unknown): HubChoice {
  const fields = object(value);
  return {
    ...optional('accessToken', string(fields, 'accessToken')),
    ...optional('hubUrl', string(fields, 'hubUrl')),
    ...optional('proxy', string(fields, 'proxy')),
    ...optional('noProxy', string(fields, 'noProxy')),
    model: string(fields, 'model') ?? missing('model'),
  };
}

export function pullParams(value: unknown): PullParams {
  const fields = object(value);
  return {
    ...hubChoice(fields),
    ...optional('name', string(fields, 'name')),
    ...optional('keepOriginal', boolean(fields, 'keepOriginal')),
  };
}

export function cancelPullParams(value: unknown): CancelPullParams {
  const fields = object(value);
  return { ...optional('discard', boolean(fields, 'discard')), name: string(fields, 'name') ?? missing('name') };
}

export function installedParams(value: unknown): InstalledParams {
  const fields = object(value);
  return { ...progressToken(fields), model: string(fields, 'model') ?? missing('model') };
}

export function countPromptParams(value: unknown): CountPromptParams {
  const fields = object(value);
  return { ...promptParams(fields), ...optional('input', string(fields, 'input')) };
}

export function runPromptParams(value: unknown): RunPromptParams {
  const fields = object(value);
  const input = string(fields, 'input') ?? missing('input');
  return { ...promptParams(fields), ...whenTooLong(fields), ...progressToken(fields), input };
}

export function runManyParams(value: unknown): RunManyParams {
  const fields = object(value);
  const inputs = fields['inputs'] ?? missing('inputs');
  if (!Array.isArray(inputs)) throw new UsageError('inputs must be an array of strings.');
  const checked = inputs.map((_: unknown, at) => {
    return string(inputs as unknown as Fields, String(at)) ?? missing(`inputs[${at}]`);
  });
  return { ...promptParams(fields), ...whenTooLong(fields), ...progressToken(fields), inputs: checked };
}

export function checkParams(value: unknown): CheckParams {
  const fields = object(value);
  return { ...promptParams(fields), ...whenTooLong(fields), ...progressToken(fields) };
}

function promptParams(fields: Fields): PromptParams {
  return { ...modelChoice(fields), set: checkPromptSet(fields['set'] ?? missing('set')) };
}

function whenTooLong(fields: Fields): { readonly whenTooLong?: WhenTooLong } {
  return optional('whenTooLong', oneOf(fields, 'whenTooLong', ['refuse', 'drop'] as const));
}

/** The greeting in `initialize`; its values are compared by the caller. */
export function hello(value: unknown): Partial<Hello> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  const { token, protocol, client } = value as Fields;
  return {
    ...(typeof token === 'string' ? { token } : {}),
    ...(typeof protocol === 'number' ? { protocol } : {}),
    ...(typeof client === 'string' ? { client: client.slice(0, 80) } : {}),
  };
}

function modelChoice(fields: Fields): ModelChoice {
  return {
    ...optional('model', string(fields, 'model')),
    ...optional('engine', oneOf(fields, 'engine', ['auto', 'cpu', 'webgpu', 'cuda'] as const)),
    ...optional('weights', oneOf(fields, 'weights', ['int8', 'fp32'] as const)),
  };
}

function decoding(fields: Fields): Decoding {
  return {
    ...optional('maxNewTokens', number(fields, 'maxNewTokens', { min: 1, max: MAX_NEW_TOKENS, integer: true })),
    ...optional('beams', number(fields, 'beams', { min: 1, max: MAX_BEAMS, integer: true })),
    ...optional('temperature', number(fields, 'temperature', { min: 0 })),
    ...optional('topP', number(fields, 'topP', { min: 0, max: 1 })),
    ...optional('topK', number(fields, 'topK', { min: 0, integer: true })),
    ...optional('seed', number(fields, 'seed', { min: 0, max: Number.MAX_SAFE_INTEGER, integer: true })),
  };
}

function progressToken(fields: Fields): { readonly progressToken?: string | number } {
  const token = fields['progressToken'];
  return typeof token === 'string' || typeof token === 'number' ? { progressToken: token } : {};
}

function object(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new UsageError('params must be an object.');
  return value as Fields;
}

/** Absent fields stay absent: `{ model: undefined }` is not the same to everyone. */
function optional<K extends string, V>(name: K, value: V | undefined): { readonly [P in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [P in K]?: V });
}

function string(fields: Fields, name: string): string | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'string') throw new UsageError(`${name} must be a string.`);
  if (value.length > MAX_TEXT)
    throw new UsageError(`${name} is longer than ${MAX_TEXT} characters: send a part of it.`);
  return value;
}

function boolean(fields: Fields, name: string): boolean | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') throw new UsageError(`${name} must be true or false.`);
  return value;
}

function number(
  fields: Fields,
  name: string,
  limits: { readonly min: number; readonly max?: number; readonly integer?: boolean },
): number | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  const { min, max = Number.MAX_VALUE, integer = false } = limits;
  if (typeof value !== 'number' || !(value >= min && value <= max) || (integer && !Number.isInteger(value))) {
    const kind = integer ? 'a whole number' : 'a number';
    const range = max === Number.MAX_VALUE ? `of at least ${min}` : `from ${min} to ${max}`;
    throw new UsageError(`${name} must be ${kind} ${range}, not ${JSON.stringify(value)}.`);
  }
  return value;
}

function oneOf<const V extends string>(fields: Fields, name: string, values: readonly V[]): V | undefined {
  const value = fields[name];
  if (value === undefined || value === null) return undefined;
  const found = values.find((v) => v === value);
  if (found === undefined)
    throw new UsageError(`${name} must be one of ${values.join(', ')}, not ${JSON.stringify(value)}.`);
  return found;
}

function missing(name: string): never {
  throw new UsageError(`${name} is missing.`);
}
