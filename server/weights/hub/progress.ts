/** What a pull is asked, tells on its way, and gives. */
import type { PullState } from '../../protocol';
import { humanBytes } from '../small';
import type { OpenOutput } from '../writer';
import type { LineLimits } from './line';
import type { StreamLimits } from './shard_stream';

export interface PullProgress {
  readonly state: PullState;
  readonly message: string;
  readonly bytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number;
  readonly secondsLeft?: number;
}

export interface PullOptions {
  /** `owner/name`, `owner/name@revision`, or the absolute path of a folder. */
  readonly model: string;
  readonly name?: string | undefined;
  readonly keepOriginal?: boolean | undefined;
  /** Absent: HF_TOKEN. It goes to the hub and nowhere else. */
  readonly accessToken?: string | undefined;
  readonly hubUrl?: string | undefined;
  readonly proxy?: string | undefined;
  readonly noProxy?: string | undefined;
  readonly modelsDir: string;
  readonly env: NodeJS.ProcessEnv;
  readonly signal: AbortSignal;
  readonly onProgress: (progress: PullProgress) => void;
  /** The built threads that quantize and hash, and from which size of the weight file on they are used (see `convertCheckpoint`). */
  readonly quantizerFile?: string | undefined;
  readonly hasherFile?: string | undefined;
  readonly threadsFromBytes?: number;
  /** Seams for tests. */
  readonly lineLimits?: Partial<LineLimits> | undefined;
  readonly streamLimits?: Partial<StreamLimits> | undefined;
  readonly noteMs?: number | undefined;
  readonly openOutput?: OpenOutput | undefined;
  readonly freeBytes?: ((dir: string) => Promise<number>) | undefined;
}

export interface Pulled {
  readonly name: string;
  readonly dir: string;
  /** Of the int8 weights. */
  readonly bytes: number;
  /** False when it was installed already. */
  readonly made: boolean;
  readonly notes: readonly string[];
}

/** `3.1 of 39.4 GB, 11.2 MB/s, 54 min left`: how far a download is. */
export function describe({
  bytes,
  totalBytes,
  bytesPerSecond,
  secondsLeft,
}: Omit<PullProgress, 'state' | 'message'>): string {
  const parts = [`${humanBytes(bytes)} of ${humanBytes(totalBytes)}`];
  if (bytesPerSecond > 0) parts.push(`${humanBytes(bytesPerSecond)}/s`);
  if (secondsLeft !== undefined) parts.push(`${humanTime(secondsLeft)} left`);
  return parts.join(', ');
}

function humanTime(seconds: number): string {
  if (seconds < 90) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 90) return `${minutes} min`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
