/**
 * One large file on its way from the hub: fetched in segments over several connections at a time, hashed in the order of the
 * file, and read by whoever waits for a part of it. No more than a window of it is in memory: a segment leaves when it is
 * hashed and all that is wanted of it was read.
 */
import { MAX_SPAN_BYTES } from '../scattered';
import type { FileHash, Hasher } from './hasher';
import type { HubFile } from './hub_file';

export interface StreamLimits {
  /** Ranges that are fetched at the same time. */
  readonly connections: number;
  /** Bytes that are in memory at most. */
  readonly windowBytes: number;
  /** The same of tensors whose elements lie scattered, beside that. */
  readonly heldBytes: number;
  /** A segment is to take about `segmentMs` on the line there is, within these sizes. */
  readonly minSegment: number;
  readonly maxSegment: number;
  readonly segmentMs: number;
}

export const STREAM_LIMITS: StreamLimits = {
  connections: 4,
  windowBytes: 64 * 1024 * 1024,
  heldBytes: MAX_SPAN_BYTES,
  minSegment: 256 * 1024,
  maxSegment: 8 * 1024 * 1024,
  segmentMs: 1000,
};

export interface StreamOptions {
  readonly file: HubFile;
  readonly hasher: Hasher;
  /** The state of its SHA-256 after some bytes: the stream begins there. Absent: at its start. */
  readonly state?: string;
  /** What will be read, once each; parts that overlap are read as often as they are listed. */
  readonly wanted: readonly { readonly offset: number; readonly bytes: number }[];
  readonly limits: StreamLimits;
  readonly onBytes: (bytes: number) => void;
  /** Gets every byte once, in order, before it can leave. */
  readonly onOrdered?: (bytes: Uint8Array, position: number) => Promise<void>;
}

interface Segment {
  readonly from: number;
  readonly to: number;
  readonly bytes: Uint8Array;
  state: 'fetching' | 'arrived' | 'hashed';
  /** Bytes of it that are still to be read. */
  unread: number;
}

export class ShardStream {
  readonly #options: StreamOptions;
  readonly #hash: FileHash;
  /** Where the hash's state is kept: at the end of everything that is wanted. */
  readonly #marks: readonly number[];
  readonly #states = new Map<number, string>();
  #segments: Segment[] = [];
  /** Buffers of segments that left. */
  #spare: Uint8Array[] = [];
  #next: number;
  #segmentBytes: number;
  #failure: { readonly error: unknown } | undefined;
  #draining = false;
  #advancing: Promise<void> = Promise.resolve();
  #waiting: (() => void)[] = [];

  constructor(options: StreamOptions) {
    this.#options = options;
    this.#hash = options.hasher.begin(options.state);
    this.#next = this.#hash.bytes;
    this.#segmentBytes = options.limits.minSegment;
    const ends = options.wanted.map(({ offset, bytes }) => offset + bytes);
    this.#marks = [...new Set(ends)].filter((end) => end > this.#next).sort((a, b) => a - b);
    this.#states.set(this.#next, this.#hash.start);
  }

  /** Up to here the file is hashed. */
  get hashed(): number {
    return this.#hash.bytes;
  }

  /** The hash's state at the end of a wanted part that was passed. */
  stateAt(position: number): string | undefined {
    return this.#states.get(position);
  }

  /** Fetches everything; resolves with the file's SHA-256 when all of it was hashed. Throws as `HubFile.range`. */
  async run(): Promise<string> {
    const workers = Array.from({ length: this.#options.limits.connections }, () => this.#work());
    await Promise.all(workers.map((worker) => worker.catch((error: unknown) => this.stop(error))));
    await this.#advancing;
    this.#throwIfFailed();
    return this.#hash.digest();
  }

  /** Ends everything: who waits, or reads later, gets this error. */
  stop(error: unknown): void {
    this.#failure ??= { error };
    this.#wake();
  }

  /** Nothing will be read any more: the rest is only hashed. */
  drain(): void {
    this.#draining = true;
    for (const segment of [...this.#segments]) this.#release(segment);
    this.#wake();
  }

  /** Resolves when the byte at `position` is on its way. */
  async reached(position: number): Promise<void> {
    while (this.#next <= position && position < this.#options.file.bytes) await this.#change();
  }

  /** Fills `target` from the byte `position` on; counts as the reading of those bytes. */
  async read(target: Uint8Array, position: number): Promise<void> {
    for (let done = 0; done < target.length; ) {
      const at = position + done;
      await this.reached(at);
      const segment = this.#segments.find(({ from, to }) => from <= at && at < to);
      if (!segment) throw new RangeError(`byte ${at} of ${this.#options.file.path} has passed already`);
      while (segment.state === 'fetching') await this.#change();
      const part = segment.bytes.subarray(
        at - segment.from,
        Math.min(segment.to, position + target.length) - segment.from,
      );
      target.set(part, done);
      done += part.length;
      segment.unread -= part.length;
      this.#release(segment);
    }
  }

  async #work(): Promise<void> {
    const { file, limits, onBytes } = this.#options;
    for (;;) {
      while (this.#next < file.bytes && !this.#hasRoom()) await this.#change();
      if (this.#failure || this.#next >= file.bytes) return;
      const segment = this.#begin();
      const started = performance.now();
      await file.range(segment.bytes, segment.from, onBytes);
      segment.state = 'arrived';
      const ms = performance.now() - started;
      const rate = segment.bytes.length / Math.max(ms, 1);
      const fitting = 2 ** Math.round(Math.log2(Math.max(1, rate * limits.segmentMs)));
      this.#segmentBytes = Math.min(limits.maxSegment, Math.max(limits.minSegment, fitting));
      this.#advance();
      this.#wake();
    }
  }

  #hasRoom(): boolean {
    const held = this.#segments.reduce((sum, { from, to }) => sum + to - from, 0);
    return held === 0 || held + this.#segmentBytes <= this.#options.limits.windowBytes;
  }

  #begin(): Segment {
    const from = this.#next;
    const to = Math.min(from + this.#segmentBytes, this.#options.file.bytes);
    this.#next = to;
    let unread = 0;
    for (const { offset, bytes } of this.#options.wanted) {
      unread += Math.max(0, Math.min(to, offset + bytes) - Math.max(from, offset));
    }
    const spare = this.#spare.findIndex((buffer) => buffer.length === to - from);
    const bytes = this.#spare.splice(spare, spare < 0 ? 0 : 1)[0] ?? this.#options.hasher.memory(to - from);
    const segment: Segment = { from, to, bytes, state: 'fetching', unread };
    this.#segments.push(segment);
    this.#wake();
    return segment;
  }

  /** Hashes what has arrived without a gap, one call after the other. */
  #advance(): void {
    this.#advancing = this.#advancing
      .then(async () => {
        for (;;) {
          const segment = this.#segments.find(({ from }) => from === this.#hash.bytes);
          if (segment?.state !== 'arrived' || this.#failure) return;
          await this.#options.onOrdered?.(segment.bytes, segment.from);
          await this.#hashSegment(segment);
          segment.state = 'hashed';
          this.#release(segment);
          this.#wake();
          // Where hashing takes this thread, others are to have their turn.
          await new Promise((resolve) => setImmediate(resolve));
        }
      })
      .catch((error: unknown) => this.stop(error));
  }

  async #hashSegment({ from, to, bytes }: Segment): Promise<void> {
    const marks = this.#marks.filter((mark) => mark > from && mark <= to);
    const states = await this.#hash.update(
      bytes,
      marks.map((mark) => mark - from),
    );
    for (const [i, mark] of marks.entries()) this.#states.set(mark, states[i] ?? '');
  }

  #release(segment: Segment): void {
    if (segment.state !== 'hashed' || (segment.unread > 0 && !this.#draining)) return;
    const at = this.#segments.indexOf(segment);
    if (at < 0) return;
    this.#segments.splice(at, 1);
    this.#spare = [...this.#spare.filter(({ length }) => length === this.#segmentBytes), segment.bytes].slice(-2);
    this.#wake();
  }

  /** Resolves at the next change of anything here. */
  async #change(): Promise<void> {
    this.#throwIfFailed();
    await new Promise<void>((resolve) => {
      this.#waiting.push(resolve);
    });
    this.#throwIfFailed();
  }

  #throwIfFailed(): void {
    if (this.#failure) throw this.#failure.error;
  }

  #wake(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const resolve of waiting) resolve();
  }
}
