/** Progress that comes faster than an eye or an editor can follow: text is joined, steps of loading are left out. */
import type { Progress } from '../protocol';

/** 60 a second: one screen refresh. The first text of a pause is sent at once. */
const INTERVAL_MS = 16;

/** Ten steps of a bar a second look smooth; a conversion reports thousands. */
const LOADING_INTERVAL_MS = 100;

/** Passes on a step of loading when it says something new, or after a while. Others pass. */
export function paceLoading(send: (progress: Progress) => void): (progress: Progress) => void {
  let message = '';
  let at = 0;
  return (progress) => {
    if (progress.kind === 'loading') {
      const now = performance.now();
      const last = progress.fraction === 1;
      if (progress.message === message && !last && now - at < LOADING_INTERVAL_MS) return;
      message = progress.message;
      at = now;
    }
    send(progress);
  };
}

/** Joins text; everything else passes at once, in order. */
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
