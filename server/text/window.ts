/**
 * Fits a text into a model's window. What does not fit is cut at the end, at a line boundary, with the template around
 * the text intact, and the result says which lines were read: nothing is cut silently.
 */
import { FlanError } from '../errors';
import type { ReadPart } from '../protocol';
import { say } from '../saying';
import type { TextCodec } from './codec';
import type { Plan, Substituter, WhitespacePolicy } from './substitute';

/** With less room than this for the text there is no point in asking about it. */
const LEAST_TEXT_TOKENS = 32;
/** Lines are kept whole unless that would leave more than half of the window empty: then one giant line is cut inside. */
const LEAST_FILLED = 0.5;
/** A cut inside a line is moved back to white space if there is any this near. */
const WORD_REACH = 80;
/** No vocabulary in use writes more characters with one token, runs of spaces apart: an upper bound for what can fit. */
const MOST_CHARS_PER_TOKEN = 32;

/** The template with the question leaves no room for the text. */
export class QuestionTooLongError extends FlanError {
  constructor(tokens: number, window: number) {
    super(
      'question-too-long',
      say('The question takes {0} of the {1} tokens that the model reads: ask a shorter one.', tokens, window),
    );
  }
}

/** The words around the text; both may be empty. */
export interface Frame {
  readonly before: string;
  readonly after: string;
  /** Comes last and as it is: a special token that is meant. */
  readonly end?: string;
}

export interface FittedPrompt {
  /** What goes into the encoder, end token included. At most `window` tokens. */
  readonly ids: number[];
  readonly read: ReadPart;
  readonly plan: Plan;
}

export interface FitOptions {
  readonly codec: TextCodec;
  readonly substituter: Substituter;
  readonly policy: WhitespacePolicy;
  /** Most tokens of a prompt. */
  readonly window: number;
  /** 1-based line of the file at which the text starts. */
  readonly firstLine: number;
  /** Its last line, if `text` is only the beginning of what was asked about: then it is never complete. */
  readonly lastLine?: number;
}

/**
 * Puts as many lines of `text` as fit between the frame's words, from the first on.
 * @throws QuestionTooLongError
 */
export function fitPrompt(frame: Frame, text: string, options: FitOptions): FittedPrompt {
  const { codec, substituter, policy, window, firstLine } = options;
  const lines = text.split('\n');
  const ownLastLine = firstLine + lines.length - 1 - (lines.length > 1 && lines.at(-1) === '' ? 1 : 0);
  const { lastLine = ownLastLine } = options;
  // The template's own lines are no loss of the user's text.
  const asked = `${frame.before} ${frame.after} `.replaceAll(/\s+/g, ' ');
  const promptOf = (plan: Plan, part: string) =>
    codec.encode(plan.applyFrame(frame.before) + plan.apply(part) + plan.applyFrame(frame.after) + (frame.end ?? ''));
  const result = (ids: number[], plan: Plan, toLine: number, complete: boolean): FittedPrompt => ({
    ids,
    plan,
    read: { complete, fromLine: firstLine, toLine, lastLine, promptTokens: ids.length, window },
  });

  // An estimate, line by line, that stops where the window is full: a long file costs no more than a window's worth. The
  // exact length is looked at below, of the whole prompt with the part's own stand-ins.
  const near = text.slice(0, window * MOST_CHARS_PER_TOKEN);
  const estimate = substituter.plan(asked + near, policy);
  const bare = promptOf(estimate, '').length;
  const room = window - bare;
  const nearLines = near.split('\n');
  let count = 0;
  let used = 0;
  for (const line of nearLines) {
    const tokens = codec.encodePlain(estimate.apply(line)).length;
    if (used + tokens > room) break;
    used += tokens;
    count++;
  }
  if (count === nearLines.length && near.length === text.length) {
    const ids = promptOf(estimate, text);
    if (ids.length <= window) return result(ids, estimate, ownLastLine, options.lastLine === undefined);
  }
  if (room < LEAST_TEXT_TOKENS) throw new QuestionTooLongError(bare, window);

  for (; count > 0 && used >= LEAST_FILLED * room; count--) {
    const part = lines.slice(0, count).join('\n');
    if (part.trim() === '') break;
    const plan = substituter.plan(asked + part, policy);
    const ids = promptOf(plan, part);
    if (ids.length <= window) return result(ids, plan, firstLine + count - 1, false);
  }

  // The next line alone is larger than what is left: its beginning, up to the last token that fits.
  const whole = lines.slice(0, count).reduce((sum, line) => sum + line.length + 1, 0);
  let least = 0;
  let most = near.length;
  let best: { readonly ids: number[]; readonly plan: Plan; readonly end: number } | undefined;
  const fits = (end: number) => {
    const plan = substituter.plan(asked + text.slice(0, end), policy);
    const ids = promptOf(plan, text.slice(0, end));
    return ids.length <= window ? { ids, plan, end } : undefined;
  };
  while (least < most) {
    const middle = (least + most + 1) >> 1;
    const fitted = fits(middle);
    if (fitted) {
      best = fitted;
      least = middle;
    } else most = middle - 1;
  }
  const end = wordBoundary(text, best?.end ?? 0, whole);
  const fitted = (end === best?.end ? best : fits(end)) ?? best;
  if (fitted === undefined) throw new QuestionTooLongError(bare, window);
  const toLine = firstLine + text.slice(0, fitted.end).split('\n').length - 1;
  return result(fitted.ids, fitted.plan, toLine, false);
}

/** Moves a cut back to white space that is near, or off the middle of a character. */
function wordBoundary(text: string, end: number, least: number): number {
  for (let i = end; i > Math.max(least, end - WORD_REACH); i--) if (/\s/.test(text.charAt(i))) return i;
  return /[\udc00-\udfff]/.test(text.charAt(end)) ? end - 1 : end;
}
