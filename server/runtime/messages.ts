/** Messages between the server's thread and the model thread. Both run the same build, so they need no version. */
import type {
  EngineChoice,
  ModelChoice,
  Progress,
  RunParams,
  RunResult,
  ScoreParams,
  ScoreResult,
  WeightChoice,
} from '../protocol';
import type { Saying } from '../saying';
import type { PromptJob, PromptJobResult } from '../tasks/fewshot/answer';
import type { ModelFolder } from './models';

/** Which of some folders to load, and how: a request's model choice with nothing left open. */
export interface LoadChoice {
  readonly folders: readonly ModelFolder[];
  readonly engine: EngineChoice;
  readonly weights: WeightChoice;
}

/** A model in memory. */
export interface LoadedBeside {
  readonly model: string;
  /** Of the folders to choose from, the one that was taken. */
  readonly dir: string;
  readonly engine: string;
  readonly device: string;
}

/** What is loaded, as the model thread knows it. */
export interface Loaded extends LoadedBeside {
  readonly demo: boolean;
  readonly weights: WeightChoice;
  /** Why `auto` took this engine; empty when the engine was named. */
  readonly why: string;
  /** Milliseconds the load took; 0 when it was still in memory. */
  readonly loadMs: number;
  /** Models that stayed in memory beside it: loading one of them again takes nothing. */
  readonly beside: readonly LoadedBeside[];
}

/** One input to a prompt set, on a model. */
export interface PromptJobParams extends PromptJob, ModelChoice {}

/** Name of a job, its parameters and its result. */
export interface Jobs {
  readonly load: { readonly params: LoadChoice; readonly result: Loaded };
  readonly run: { readonly params: RunParams; readonly result: RunResult };
  readonly score: { readonly params: ScoreParams; readonly result: ScoreResult };
  readonly prompt: { readonly params: PromptJobParams; readonly result: PromptJobResult };
  readonly dispose: { readonly params: null; readonly result: null };
}
export type JobName = keyof Jobs;

/** One job as it is sent: its name tells the type of its parameters. */
export type Job = { readonly [N in JobName]: { readonly job: N; readonly params: Jobs[N]['params'] } }[JobName];

export type ToWorker = Job & {
  readonly id: number;
  /** `SharedStop.buffer` of this job. */
  readonly stop: SharedArrayBuffer;
};

/** Why a job of a thread failed: a `FlanError` without its class. */
export interface JobError {
  readonly id: number;
  readonly kind: 'error';
  readonly code: string;
  readonly message: string;
  readonly saying?: Saying;
}

export type FromWorker =
  | { readonly id: number; readonly kind: 'progress'; readonly progress: Progress }
  /** A model is gone: a new one takes its place. `beside`: what is left beside the one used last; absent: that one is gone. */
  | { readonly id: number; readonly kind: 'freed'; readonly beside?: readonly LoadedBeside[] }
  | { readonly id: number; readonly kind: 'result'; readonly result: Jobs[JobName]['result'] }
  | JobError;

/** Given to the worker when it starts. */
export interface WorkerSetup {
  readonly cacheDir: string;
}
