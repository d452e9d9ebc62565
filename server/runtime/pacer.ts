/** Joins text progress that comes faster than an eye or an editor can follow; everything else passes at once, in order. */
import type { Progress } from '../protocol';

/** 60 a second: one screen refresh. The first text of a pause is sent at once. */
const INTERVAL_MS = 16;

export class TextPacer {
  readonly #send: (progress: Progress) => void;
  #pending = '';
  #timer: NodeJS.Timeout | undefined;

  constructor(send: (progress: Progress) => void) {
    this.#send = send;
  }

  send(progress: Progress): void {
    if (progress.kind !== 'text') {
      this.#emit();
      this.#send(progress);
      return;
    }
    this.#pending += progress.append;
    if (this.#timer !== undefined) return;
    this.#emit();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#emit();
    }, INTERVAL_MS);
  }

  /** Sends what is left; to be called before the final result. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#emit();
  }

  #emit(): void {
    const append = this.#pending;
    this.#pending = '';
    if (append !== '') this.#send({ kind: 'text', append });
  }
}
