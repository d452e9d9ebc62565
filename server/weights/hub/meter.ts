/** How fast bytes arrive, and how long the rest will take. */

/** The speed is that of the last while: a line changes. */
const WINDOW_MS = 10_000;
const SAMPLE_MS = 250;

export interface Reading {
  readonly bytes: number;
  readonly totalBytes: number;
  readonly bytesPerSecond: number;
  readonly secondsLeft?: number;
}

export class Meter {
  #bytes: number;
  readonly #totalBytes: number;
  readonly #samples: { readonly at: number; readonly bytes: number }[] = [];
  /** What arrived, whatever was dropped again. */
  #arrived = 0;

  /** `bytes`: what is there already. */
  constructor(totalBytes: number, bytes: number) {
    this.#totalBytes = totalBytes;
    this.#bytes = bytes;
  }

  add(bytes: number, now = performance.now()): void {
    this.#bytes += bytes;
    if (bytes > 0) this.#arrived += bytes;
    const last = this.#samples.at(-1);
    if (last && now - last.at < SAMPLE_MS) return;
    this.#samples.push({ at: now, bytes: this.#arrived });
    while (this.#samples.length > 2 && now - (this.#samples[0]?.at ?? now) > WINDOW_MS) this.#samples.shift();
  }

  read(now = performance.now()): Reading {
    const first = this.#samples[0];
    const ms = first === undefined ? 0 : now - first.at;
    const bytesPerSecond = first === undefined || ms < SAMPLE_MS ? 0 : ((this.#arrived - first.bytes) / ms) * 1000;
    const left = Math.max(0, this.#totalBytes - this.#bytes);
    return {
      bytes: Math.max(0, Math.min(this.#bytes, this.#totalBytes)),
      totalBytes: this.#totalBytes,
      bytesPerSecond: Math.round(bytesPerSecond),
      ...(bytesPerSecond > 0 ? { secondsLeft: Math.ceil(left / bytesPerSecond) } : {}),
    };
  }
}
