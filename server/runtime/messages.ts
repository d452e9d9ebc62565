/** Messages between the server's thread and the model thread. Both run the same build, so they need no version. */
import type { DoctorItem, ModelChoice, Progress, RunParams, RunResult, ScoreParams, ScoreResult } from '../protocol';

/** What is loaded, as the model thread knows it. */
export interface Loaded {
  /** The name or folder that was asked for resolves to this name. */
  readonly model: string;
  readonly demo: boolean;
  readonly engine: string;
  readonly device: string;
  readonly weights: 'int8' | 'fp32';
  /** Why `auto` took this engine; empty when the engine was named. */
  readonly why: string;
  /** Milliseconds the load took; 0 when it was there already. */
  readonly loadMs: number;
}

/** Name of a job, its parameters and its result. */
export interface Jobs {
  readonly load: { readonly params: ModelChoice; readonly result: Loaded };
  readonly run: { readonly params: RunParams; readonly result: RunResult };
  readonly score: { readonly params: ScoreParams; readonly result: ScoreResult };
  readonly doctor: { readonly params: null; readonly result: readonly DoctorItem[] };
  readonly dispose: { readonly params: null; readonly result: null };
}
export type JobName = keyof Jobs;

export interface ToWorker<N extends JobName = JobName> {
  readonly id: number;
  readonly job: N;
  readonly params: Jobs[N]['params'];
  /** `SharedStop.buffer` of this job. */
  readonly stop: SharedArrayBuffer;
}

export type FromWorker =
  | { readonly id: number; readonly kind: 'progress'; readonly progress: Progress }
  | { readonly id: number; readonly kind: 'result'; readonly result: Jobs[JobName]['result'] }
  | { readonly id: number; readonly kind: 'error'; readonly code: string; readonly message: string };

/** Given to the worker when it starts. */
export interface WorkerSetup {
  readonly home: string;
}
