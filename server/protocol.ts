/**
 * Every message between a front end (editor window, command line) and the server, in one place. Both sides import this
 * file; it has no code but names. Errors travel as JSON-RPC errors whose `data` is `{ code: FlanError['code'] }`.
 */

import type { PromptSet } from './prompts/set';
import type { Saying } from './saying';

export type { Example, Form, Generation, Labels, PromptSet } from './prompts/set';
export type { Saying };

/** Raised whenever a message changes shape: a client and a server of different numbers do not talk. */
export const PROTOCOL = 2;

export type EngineChoice = 'auto' | 'cpu' | 'webgpu' | 'cuda';
export type WeightChoice = 'int8' | 'fp32';
/** UL2's words for the three kinds of gaps that it was trained to fill; `auto`: the one that suits the task. */
export type ModeToken = 'auto' | 'NLU' | 'NLG' | 'S2S' | 'none';
export type TaskName = 'explain' | 'summarize' | 'ask' | 'generate';

/** Sent in `initialize` as `initializationOptions`: proves that the client is the same user, and says who it is. */
export interface Hello {
  readonly token: string;
  readonly protocol: number;
  readonly client: string;
}

/** How to choose tokens; absent fields mean greedy. */
export interface Decoding {
  readonly maxNewTokens?: number;
  readonly beams?: number;
  readonly temperature?: number;
  readonly topP?: number;
  readonly topK?: number;
  readonly seed?: number;
}

/** Which model on which engine; absent fields mean the user's defaults. */
export interface ModelChoice {
  /** A folder, or the name of an installed model. */
  readonly model?: string;
  readonly engine?: EngineChoice;
  readonly weights?: WeightChoice;
}

export interface RunParams extends ModelChoice, Decoding {
  readonly task: TaskName;
  /** The selected text; for `generate` the whole prompt, used as it is. */
  readonly text: string;
  /** For `ask`. */
  readonly question?: string;
  /** The editor's language id (`python`, `markdown`, `plaintext` …), if known. */
  readonly languageId?: string;
  /** Only UL2 has these; other models do not look at it. Raw prompts get none. */
  readonly modeToken?: ModeToken;
  /** 1-based line of the file at which `text` starts; for messages only. */
  readonly firstLine?: number;
  /**
   * 1-based line of the file at which the user's text ends, when `text` is only its beginning: what no model reads need
   * not be sent. Not for `generate`, which cuts nothing.
   */
  readonly lastLine?: number;
  /** Progress is sent with this token as `$/progress`. */
  readonly progressToken?: string | number;
}

export type Progress =
  | { readonly kind: 'queued'; readonly ahead: number }
  | { readonly kind: 'loading'; readonly model: string; readonly message: string; readonly fraction?: number }
  | { readonly kind: 'encoding'; readonly tokens: number; readonly device: string; readonly model: string }
  /** Text to append to what was shown so far. */
  | { readonly kind: 'text'; readonly append: string }
  /** Only where answers are voted for: so many of the samples have come to an end. */
  | { readonly kind: 'voting'; readonly finished: number; readonly of: number };

export interface Timings {
  /** 0 when the model was loaded already. */
  readonly loadMs: number;
  readonly encodeMs: number;
  /** From the start of encoding to the first token. */
  readonly firstTokenMs: number;
  readonly msPerToken: number;
}

/** Which part of the text the model was given. Lines are 1-based and inclusive, counted in the file. */
export interface ReadPart {
  readonly complete: boolean;
  readonly fromLine: number;
  readonly toLine: number;
  readonly lastLine: number;
  readonly promptTokens: number;
  readonly window: number;
}

/** A character that the model's vocabulary cannot write. `as`: what stood for it, or null when it was lost. */
export interface Substitution {
  readonly char: string;
  readonly as: string | null;
  readonly count: number;
}

export interface RunResult {
  readonly text: string;
  /** New tokens, without the start token; with the end token if it came. */
  readonly ids: readonly number[];
  readonly promptIds: readonly number[];
  readonly finishReason: 'stop' | 'length' | 'cancelled';
  /** The answer was ended (as `length`) because it repeated itself without end. */
  readonly repeated?: boolean;
  /** Sampling: the seed that gives this answer again. */
  readonly seed?: number;
  readonly engine: string;
  readonly device: string;
  readonly model: string;
  readonly weights: WeightChoice;
  readonly timings: Timings;
  readonly read: ReadPart;
  readonly substitutions: readonly Substitution[];
  /** `ask`: the model answered that the text does not say. `text` then holds a sentence for the user. */
  readonly unanswerable: boolean;
  /** Made by the built-in demonstration model. */
  readonly demo: boolean;
}

export interface ScoreParams extends ModelChoice {
  readonly prompt: string;
  readonly answer: string;
}

export interface ScoreResult {
  readonly text: string;
  readonly ids: readonly number[];
  readonly promptIds: readonly number[];
  readonly logprob: number;
  readonly tokens: readonly { readonly id: number; readonly text: string; readonly logprob: number }[];
  readonly engine: string;
  readonly device: string;
  readonly model: string;
  readonly weights: WeightChoice;
  readonly timings: Timings;
}

export interface ModelInfo {
  readonly name: string;
  readonly dir: string;
  readonly bytes: number;
  readonly form: 'pre-quantized' | 'original';
  readonly demo: boolean;
  readonly parameters: number;
  /** When its weights were made, in milliseconds since 1970. */
  readonly changedMs?: number;
  /** Of a pulled model: `google/flan-ul2@main`. */
  readonly origin?: string;
}

/** A repository of the hub, and how to reach it. Nothing of this is written to a disk or a log but `model`. */
export interface HubChoice {
  /** `owner/name`, `owner/name@revision` (a branch, a tag, a commit, `refs/pr/29`); for a pull also a local folder. */
  readonly model: string;
  /** For private and gated repositories. Absent: HF_TOKEN of the server's own environment. */
  readonly accessToken?: string;
  /** Absent: HF_ENDPOINT of the server's environment, else the public hub. */
  readonly hubUrl?: string;
  /** An HTTP proxy for every request. Absent: HTTPS_PROXY, HTTP_PROXY and NO_PROXY of the server's environment. */
  readonly proxy?: string;
  /** Hosts that are reached without a proxy, with commas between them. Absent: NO_PROXY of the server's environment. */
  readonly noProxy?: string;
}

/** What a repository holds, before anything large is downloaded. */
export interface RepositoryInfo {
  readonly repository: string;
  readonly revision: string;
  readonly commit: string;
  /** What it would be installed as. */
  readonly name: string;
  /** The whole `config.json`, unchecked. */
  readonly config: unknown;
  readonly weights: 'safetensors' | 'pytorch';
  /** The files that a pull would read, and all others by name. */
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly read: boolean }[];
  /** Of the files to read. */
  readonly downloadBytes: number;
  /** About the size of the int8 model; absent when `config.json` is of no model that can be run. */
  readonly installBytes?: number;
  /** Judged by `config.json`: its parameters, and where it would fit now; absent when it cannot be run. */
  readonly parameters?: number;
  readonly engines?: readonly EngineFit[];
  /** Why it cannot be run, as a sentence. */
  readonly refused?: { readonly code: string; readonly message: string; readonly saying?: Saying };
  /** Free on the disk of the models. */
  readonly freeBytes: number;
  /** SPDX or the hub's own name of it, where the repository says one. */
  readonly license?: string;
  readonly gated: boolean;
  /** A model of this name is installed, and whether it is this commit's. */
  readonly installed?: { readonly dir: string; readonly same: boolean };
}

export interface PullParams extends HubChoice {
  /** The name to install it under. Absent: the repository's own, without its owner. */
  readonly name?: string;
  /** Keeps the downloaded files beside the int8 weights: fp32 is then exact. Needs the room for both. */
  readonly keepOriginal?: boolean;
}

/**
 * `preparing`: listing, headers, disk space. `downloading`: fetched and quantized in one go (with `keepOriginal`, fetched).
 * `converting`: quantizing local files. `checking`: what was written is read again. `paused`: unfinished and not running;
 * a pull of the same model goes on from there. `waiting`: another process, as the command line, pulls it; the bytes are those
 * that it has noted, and a pull of the same model waits for it.
 */
export type PullState =
  | 'preparing'
  | 'waiting'
  | 'downloading'
  | 'converting'
  | 'checking'
  | 'done'
  | 'failed'
  | 'cancelled'
  | 'paused';

/** One pull, running or ended. There is at most one for a name. */
export interface PullInfo {
  /** The name it is installed under; also what cancels it. */
  readonly name: string;
  /** `google/flan-ul2`, or a local folder. */
  readonly model: string;
  readonly revision: string;
  readonly state: PullState;
  /** What happens now, as a line for a log; front ends word it themselves from the numbers. */
  readonly message: string;
  /** Done and in all, of what this state works on; 0 of 0 while that is unknown. */
  readonly bytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number;
  /** Absent while there is nothing to tell it from. */
  readonly secondsLeft?: number;
  /** `done`: the model's folder, and what should be known of it. */
  readonly dir?: string;
  readonly notes?: readonly string[];
  /**
   * `failed`: a sentence to show, and its code: `hub-token` (a token is needed, or this one may not read it), `hub-unknown`
   * (no such repository or revision), `hub-offline` (the hub cannot be reached), `hub-line` (the connection failed too
   * often), `hub-checksum` (bytes differ from what the hub says, also when fetched again), `hub-changed`, `disk-full`,
   * `unsupported-model`, `not-a-model`, `model-exists` (another model has this name).
   */
  readonly error?: { readonly code: string; readonly message: string; readonly saying?: Saying };
}

export interface CancelPullParams {
  readonly name: string;
  /** Also removes what was fetched; without it a later pull goes on from there. Works for `paused` ones, too. */
  readonly discard?: boolean;
}

/** The name of an installed model. */
export interface InstalledParams {
  readonly model: string;
  readonly progressToken?: string | number;
}

export interface Removed {
  readonly name: string;
  readonly dir: string;
  readonly freedBytes: number;
}

export interface Verified {
  readonly name: string;
  readonly dir: string;
  readonly ok: boolean;
  /** `problem`: what is wrong, as a clause. */
  readonly files: readonly { readonly path: string; readonly bytes: number; readonly problem?: string }[];
}

/** One thing, said in every language that front ends have. */
export interface Words {
  readonly en: string;
  readonly zh: string;
}

/** What a model costs in int8. */
export interface ModelFigures {
  readonly parameters: number;
  /** The weight file on the disk. */
  readonly int8Bytes: number;
  /** Bytes of memory with 512 and with 2048 source tokens. WebGPU takes as much as the CPU. */
  readonly memory: { readonly cuda: readonly [number, number]; readonly cpu: readonly [number, number] };
}

/** A model that the registry knows. */
export interface KnownModel extends ModelFigures {
  /** `google/flan-ul2` */
  readonly repository: string;
  /** What it is called when it is installed: `flan-ul2`. */
  readonly name: string;
  /** About what is downloaded: its parameters in the type that the repository stores. */
  readonly downloadBytes: number;
  /** Most tokens that tasks give it. */
  readonly window: number;
  readonly licence: string;
  /** What it was trained for. `generate` alone: nothing but raw prompts. */
  readonly tasks: readonly TaskName[];
  readonly good: Words;
  readonly bad: Words;
  readonly note?: Words;
}

/** Whether a model fits one engine of this machine now. */
export interface EngineFit {
  readonly engine: Exclude<EngineChoice, 'auto'>;
  readonly device: string;
  readonly fits: boolean;
  readonly needBytes: number;
  /** What is free now, with what the loaded model would give back; absent where it cannot be told. */
  readonly freeBytes?: number;
}

/** A known model, seen from this machine. */
export interface AvailableModel extends KnownModel {
  readonly installed: boolean;
  /** The engines that are there and compute by themselves, the preferred one first. */
  readonly engines: readonly EngineFit[];
  /** There is room on the disk for its int8 file, or it is installed. */
  readonly diskFits: boolean;
  /** The one that suits this machine best. */
  readonly recommended: boolean;
}

export interface Status {
  readonly state: 'idle' | 'loading' | 'ready' | 'busy';
  readonly pid: number;
  readonly version: string;
  readonly clients: number;
  readonly queued: number;
  readonly model?: string;
  readonly demo?: boolean;
  readonly engine?: string;
  readonly device?: string;
  /** Why `auto` took this engine, in a sentence. */
  readonly why?: string;
  /** Models that stay in memory beside it, because there is room: a switch to one of them takes no time. */
  readonly beside?: readonly { readonly model: string; readonly device: string }[];
}

/** One line of what this machine can run. */
export interface DoctorItem {
  readonly what: string;
  readonly ok: boolean;
  readonly detail: string;
  /** The same, for front ends that speak other languages. */
  readonly said?: { readonly what: Saying; readonly detail: Saying };
}

export interface LoadParams extends ModelChoice {
  readonly progressToken?: string | number;
}

/** What a request about a prompt set needs: the set itself, since it may not be saved yet. */
export interface PromptParams extends ModelChoice {
  readonly set: PromptSet;
}

/**
 * What to do with a prompt that is longer than the window. `refuse`: an error that says which examples do not fit.
 * `drop`: leave examples away, from the last on; the answer says which.
 */
export type WhenTooLong = 'refuse' | 'drop';

export interface CountPromptParams extends PromptParams {
  /** The query; absent: counted as empty. */
  readonly input?: string;
}

/**
 * Tokens of a prompt as the model's own tokenizer writes it, end token included. `total` is the count of the whole
 * prompt, and the parts add up to it: what a part adds is the difference that it makes to the whole.
 */
export interface PromptCount {
  readonly model: string;
  /** Most tokens of a prompt. */
  readonly window: number;
  /** Input length that the model was trained on: longer prompts run, with less quality. At most `window`. */
  readonly trainedLength: number;
  readonly total: number;
  /** Of the instruction and the list of options. */
  readonly instruction: number;
  /** Of the query with its labels and the end token. */
  readonly query: number;
  /** One for each of `set.examples`, in order; an example that is switched off has 0 tokens and fits. */
  readonly examples: readonly { readonly tokens: number; readonly fits: boolean }[];
  /** Whether the whole prompt fits. When it does not, the examples whose `fits` is false are what `drop` leaves away. */
  readonly fits: boolean;
  /** Instruction and query alone are longer than the window: dropping examples does not help. */
  readonly hopeless: boolean;
  readonly substitutions: readonly Substitution[];
}

export interface RunPromptParams extends PromptParams {
  readonly input: string;
  /** Default `refuse`. */
  readonly whenTooLong?: WhenTooLong;
  /** PromptProgress is sent with this token as `$/progress`. */
  readonly progressToken?: string | number;
}

export interface OptionScore {
  readonly option: string;
  /** log p(option and the end token | prompt), natural. */
  readonly logprob: number;
  /** Among the options: they add up to 1. */
  readonly probability: number;
}

/** What the model made of one input. */
export interface PromptAnswer {
  /** The answer; with votes, the final answer that most samples came to; with options, one of them as the set spells it. */
  readonly text: string;
  /** Natural, of the tokens that were written or chosen, end token included. With votes: of the sample in `sample`. */
  readonly logprob: number;
  /** New tokens, end token included. */
  readonly tokens: number;
  readonly finishReason: 'stop' | 'length' | 'cancelled';
  /** The answer was ended (as `length`) because it repeated itself without end. */
  readonly repeated?: boolean;
  /** In the order of the set. */
  readonly options?: readonly OptionScore[];
  /** Final answers by number of samples, most first; of equal numbers the one that came first. */
  readonly votes?: readonly { readonly answer: string; readonly count: number }[];
  /** With votes: the whole text of the first sample that came to `text`, reasoning included. */
  readonly sample?: string;
  readonly promptTokens: number;
  readonly window: number;
  /** Indices (into `set.examples`) of the examples that were left away, with `drop`. */
  readonly dropped: readonly number[];
  readonly substitutions: readonly Substitution[];
}

/** Who answered. */
export interface Answerer {
  readonly engine: string;
  readonly device: string;
  readonly model: string;
  readonly weights: WeightChoice;
  /** Made by the built-in demonstration model. */
  readonly demo: boolean;
}

export interface PromptRunResult extends PromptAnswer, Answerer {
  /** New tokens; with votes those of `sample`. */
  readonly ids: readonly number[];
  readonly promptIds: readonly number[];
  readonly timings: Timings;
}

export interface RunManyParams extends PromptParams {
  readonly inputs: readonly string[];
  /** Default `refuse`: an input whose prompt does not fit gets an error of its own. */
  readonly whenTooLong?: WhenTooLong;
  readonly progressToken?: string | number;
}

/** What became of one input: an answer, or why there is none. */
export type PromptOutcome =
  | { readonly kind: 'answered'; readonly answer: PromptAnswer }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly saying?: Saying };

/** The outcomes themselves come as progress, in order, each as soon as it is known, all of them before this. */
export interface RunManyResult extends Answerer {
  readonly answered: number;
  readonly failed: number;
  /** Stopped before the last input. The input that was being answered has no outcome. */
  readonly cancelled: boolean;
}

export interface CheckParams extends PromptParams {
  /** Default `refuse`. */
  readonly whenTooLong?: WhenTooLong;
  readonly progressToken?: string | number;
}

/** How likely the model finds a given text, the end token included. */
export interface Likelihood {
  /** Natural logarithm. */
  readonly logprob: number;
  readonly tokens: number;
  /** `logprob` per token: comparable between outputs of different lengths. */
  readonly perToken: number;
}

/** One example, predicted from all others. */
export interface CheckedExample {
  /** Into `set.examples`. */
  readonly index: number;
  /** What the model answers to the example's input. */
  readonly predicted: PromptOutcome;
  /** The prediction is the example's own output (case, white space and a last full stop aside). */
  readonly agrees: boolean;
  /** Of the example's own output; absent when the prediction failed. */
  readonly own?: Likelihood;
}

export interface CheckReport extends Answerer {
  /** The examples that are switched on, in order; fewer when cancelled. */
  readonly examples: readonly CheckedExample[];
  readonly agreeing: number;
  /** Mean of `own.perToken`; absent when nothing was predicted. */
  readonly meanPerToken?: number;
  /** Indices (into `set.examples`) of the examples that stand out; the rule is `oddExamples` of prompts/check.ts. */
  readonly odd: readonly number[];
  readonly cancelled: boolean;
}

/** Progress of requests about prompt sets. `text`, `encoding` and `voting` come with a run on one input only. */
export type PromptProgress =
  | Progress
  /** Of `runMany`: `at` is the index of the input. */
  | { readonly kind: 'outcome'; readonly at: number; readonly of: number; readonly outcome: PromptOutcome }
  /** Of `check`: `at` counts the checked examples from 0. */
  | { readonly kind: 'checked'; readonly at: number; readonly of: number; readonly example: CheckedExample };

export const Method = {
  /** RunParams → RunResult. Cancelling ends within one token, with `finishReason: 'cancelled'` and the text so far. */
  run: 'flan/run',
  /** ScoreParams → ScoreResult */
  score: 'flan/score',
  /**
   * CountPromptParams → PromptCount. Loads no model and waits for none: only the tokenizer is read, so it can be asked
   * while somebody types and while the model answers.
   */
  countPrompt: 'flan/prompts/count',
  /**
   * RunPromptParams → PromptRunResult: one input. Text streams as progress, but for options and votes. Cancelling
   * resolves with `finishReason: 'cancelled'` and the text so far.
   */
  runPrompt: 'flan/prompts/run',
  /**
   * RunManyParams → RunManyResult: many inputs, one after the other; requests of others get their turn in between.
   * Cancelling resolves with what was done.
   */
  runPromptMany: 'flan/prompts/runMany',
  /** CheckParams → CheckReport: leave-one-out over the examples that are switched on. Cancelling as with `runPromptMany`. */
  checkPrompt: 'flan/prompts/check',
  /** LoadParams → Status: loads without asking anything. */
  load: 'flan/load',
  /** null → ModelInfo[] */
  models: 'flan/models',
  /** null → AvailableModel[]: what could be installed, and what of it fits this machine now. */
  available: 'flan/available',
  /** null → DoctorItem[] */
  doctor: 'flan/doctor',
  /** null → Status */
  status: 'flan/status',
  /** HubChoice → RepositoryInfo: looks at a repository; a few small requests. */
  repository: 'flan/repository',
  /**
   * PullParams → PullInfo, as soon as it runs: what becomes of it is told by `pullChanged`. It outlives its client. One that
   * runs already under this name and is of the same model is returned; of another: error `model-exists`.
   */
  pull: 'flan/pull',
  /** null → PullInfo[]: what runs, what ended since the server started, and what was left unfinished on the disk. */
  pulls: 'flan/pulls',
  /** CancelPullParams → PullInfo, when it has ended. */
  cancelPull: 'flan/cancelPull',
  /** Notification to every client: PullInfo; at most a few a second while bytes arrive. */
  pullChanged: 'flan/pullChanged',
  /** InstalledParams → Removed: frees the disk, also of what was converted from it and of an unfinished pull of it. */
  remove: 'flan/remove',
  /** InstalledParams → Verified, with `loading` progress: reads all of its files and compares them with their sums. */
  verify: 'flan/verify',
  /** Notification to every client: Status. */
  statusChanged: 'flan/statusChanged',
  /**
   * `{ token }` → boolean, before `initialize`, by a client of another build: true when nobody uses this server, which
   * then leaves. Understood by every protocol number.
   */
  replace: 'flan/replace',
  /** null → null: frees everything and ends the process, for all clients. */
  stop: 'flan/stop',
} as const;
