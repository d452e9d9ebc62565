/**
 * Every message between a front end (editor window, command line) and the server, in one place. Both sides import this
 * file; it has no code but names. Errors travel as JSON-RPC errors whose `data` is `{ code: FlanError['code'] }`.
 */

/** Raised whenever a message changes shape: a client and a server of different numbers do not talk. */
export const PROTOCOL = 1;

export type EngineChoice = 'auto' | 'cpu' | 'webgpu' | 'cuda';
export type WeightChoice = 'int8' | 'fp32';
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
  /** 1-based line of the file at which `text` starts; for messages only. */
  readonly firstLine?: number;
  /** Progress is sent with this token as `$/progress`. */
  readonly progressToken?: string | number;
}

export type Progress =
  | { readonly kind: 'queued'; readonly ahead: number }
  | { readonly kind: 'loading'; readonly model: string; readonly message: string; readonly fraction?: number }
  | { readonly kind: 'encoding'; readonly tokens: number; readonly device: string; readonly model: string }
  /** Text to append to what was shown so far. */
  | { readonly kind: 'text'; readonly append: string };

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
}

/** One line of what this machine can run. */
export interface DoctorItem {
  readonly what: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface LoadParams extends ModelChoice {
  readonly progressToken?: string | number;
}

export const Method = {
  /** RunParams → RunResult. Cancelling ends within one token, with `finishReason: 'cancelled'` and the text so far. */
  run: 'flan/run',
  /** ScoreParams → ScoreResult */
  score: 'flan/score',
  /** LoadParams → Status: loads without asking anything. */
  load: 'flan/load',
  /** null → ModelInfo[] */
  models: 'flan/models',
  /** null → DoctorItem[] */
  doctor: 'flan/doctor',
  /** null → Status */
  status: 'flan/status',
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
