/** Small helpers that several files of this folder share. */
import { open } from 'node:fs/promises';
import { CancelledError } from '../errors';

/** Cancelling: an AbortSignal, or the engines' flag. */
export type CancelSignal = { readonly aborted: boolean } | { readonly stopped: boolean };

/** Throws `CancelledError` when the owner of the work has given it up. */
export function throwIfCancelled(signal: CancelSignal | undefined): void {
  if (signal && ('aborted' in signal ? signal.aborted : signal.stopped)) throw new CancelledError();
}

/** The `code` of a system error (`ENOENT` …). */
export function errorCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

/** A file that is read whole has a size that no file of its kind has. */
export class TooLargeError extends Error {
  constructor(bytes: number, limit: number) {
    super(`it has ${humanBytes(bytes)}, and such a file has at most ${humanBytes(limit)}`);
  }
}

/**
 * The whole of a small file.
 *
 * @throws TooLargeError above `limit` bytes: a damaged or hostile file may be as large as the memory. System errors.
 */
export async function readSmall(path: string, limit: number): Promise<Buffer> {
  const file = await open(path, 'r');
  try {
    const { size } = await file.stat();
    if (size > limit) throw new TooLargeError(size, limit);
    return await file.readFile();
  } finally {
    await file.close();
  }
}

/** A value from a file as it may stand in a one-line message: at most 60 characters, no control characters. */
export function show(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is removed.
  const clean = text.replace(/[\u0000-\u001f\u007f-\u009f\u2028\u2029]+/g, ' ');
  return clean.length > 60 ? `${clean.slice(0, 59)}…` : clean;
}

/** Bytes as a person reads them, in decimal units as disks are sold. */
export function humanBytes(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes >= 1e6) return `${Math.round(bytes / 1e6)} MB`;
  return `${Math.max(1, Math.round(bytes / 1e3))} kB`;
}

/** How far some long work is: a line for a person, and a part from 0 to 1. */
export interface Progress {
  readonly message: string;
  readonly fraction: number;
}

/** The smallest step that is reported: 20 GB are worked on in some 20,000 portions, and progress may travel to every window. */
const PROGRESS_STEP = 0.001;

/** Passes progress on where it has moved: a new message, a thousandth more, or the end. */
export function inSteps(report: ((progress: Progress) => void) | undefined): (progress: Progress) => void {
  let last: Progress | undefined;
  return (progress) => {
    const moved = !last || progress.message !== last.message || progress.fraction >= last.fraction + PROGRESS_STEP;
    if (!moved && progress.fraction < 1) return;
    last = progress;
    report?.(progress);
  };
}
