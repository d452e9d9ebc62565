/** When the server leaves by itself: some time after its last client, or when nobody came at all. */

/** The starter connects within a second; one that was killed meanwhile leaves no server behind. */
export const FIRST_CLIENT_MS = 30_000;
/** Long enough to reload a window or type the next command without loading 20 GB again. */
export const DEFAULT_LINGER_SECONDS = 300;

export class Lifetime {
  readonly #lingerMs: number;
  readonly #leave: (reason: string) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(lingerMs: number, leave: (reason: string) => void, firstClientMs: number = FIRST_CLIENT_MS) {
    this.#lingerMs = lingerMs;
    this.#leave = leave;
    this.#wait(firstClientMs, 'no client came');
  }

  /** To be called whenever the number of clients changes. */
  clients(count: number): void {
    clearTimeout(this.#timer);
    if (count === 0) this.#wait(this.#lingerMs, 'the last client left');
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #wait(ms: number, reason: string): void {
    this.#timer = setTimeout(() => this.#leave(reason), ms);
  }
}
