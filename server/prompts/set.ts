/**
 * A prompt set: an instruction, worked examples, and how they are put before the model. Pure types and small helpers,
 * for the server, the command line and the extension alike.
 *
 * A set in memory is the content of its file. Fields that this version does not know ride along in the objects, so edit by
 * spreading (`{ ...set, name }`): whoever rebuilds a set field by field loses them.
 */

/** Raised when a file of this version could not be read by an older one. */
export const PROMPT_SET_VERSION = 1;

/** The words before an input and before its output, without the colon: free labels of a set. */
export interface Labels {
  readonly input: string;
  readonly output: string;
}

/** `qa`: `Q:` and `A:`. `io`: `Input:` and `Output:`. */
export type Form = 'qa' | 'io' | Labels;

export interface Example {
  readonly input: string;
  readonly output: string;
  /** Switched off: kept in the file, not shown to the model. Absent means on. */
  readonly off?: boolean;
}

/** How the answer is written. Has no effect in a set with `options`, whose answer is chosen, not written. */
export interface Generation {
  /** Longest answer in tokens, 1 to 8192; default DEFAULT_ANSWER_TOKENS. */
  readonly maxNewTokens?: number;
  /** Beam search, 1 to 16; default 1. Not together with `votes`. */
  readonly beams?: number;
  /** Samples of which the most frequent final answer wins, 2 to MAX_VOTES. For examples that reason before they answer. */
  readonly votes?: number;
  /** Of the samples, above 0 to 5; default DEFAULT_VOTE_TEMPERATURE. Only with `votes`. */
  readonly temperature?: number;
  /** Of the samples; default DEFAULT_VOTE_SEED, so that a set answers the same every time. Only with `votes`. */
  readonly seed?: number;
}

export interface PromptSet {
  readonly version: typeof PROMPT_SET_VERSION;
  /** For people; not shown to the model. */
  readonly name: string;
  readonly description?: string;
  /** Stands before the examples; may be empty. */
  readonly instruction: string;
  readonly form: Form;
  /** The only answers there are: the model's most probable one of these is taken. Two or more, all different. */
  readonly options?: readonly string[];
  readonly generation?: Generation;
  /** In the order in which the model sees them. */
  readonly examples: readonly Example[];
}

/** Few-shot answers are labels, names and sentences; one that goes on beyond this has lost its way. */
export const DEFAULT_ANSWER_TOKENS = 128;
/** Enough to make samples differ, little enough to keep each of them sensible. */
export const DEFAULT_VOTE_TEMPERATURE = 0.7;
export const DEFAULT_VOTE_SEED = 1;
/** More samples change the majority hardly ever, and each is another row of cache. */
export const MAX_VOTES = 40;
/** More options than this are no choice, but a search. */
export const MAX_OPTIONS = 100;

/** An empty set with a name, in the form that Flan saw most. */
export function newPromptSet(name: string): PromptSet {
  return { version: PROMPT_SET_VERSION, name, instruction: '', form: 'qa', examples: [] };
}

/** The words before inputs and outputs, without the colon. */
export function labelsOf(form: Form): Labels {
  if (form === 'qa') return { input: 'Q', output: 'A' };
  if (form === 'io') return { input: 'Input', output: 'Output' };
  return form;
}

/** Indices (into `set.examples`) of the examples that the model sees, in order. */
export function shownExamples(set: Pick<PromptSet, 'examples'>): number[] {
  return set.examples.flatMap((example, index) => (example.off === true ? [] : [index]));
}
