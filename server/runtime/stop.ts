/** A stop flag in shared memory: set by the server's thread, read by the model thread between native calls. */
import type { StopSignal } from '../engine/engine';

export class SharedStop implements StopSignal {
  readonly buffer: SharedArrayBuffer;
  readonly #flag: Int32Array;

  /** `buffer`: the same shared memory on both threads; 4 bytes. */
  constructor(buffer = new SharedArrayBuffer(4)) {
    this.buffer = buffer;
    this.#flag = new Int32Array(buffer);
  }

  get stopped(): boolean {
    return Atomics.load(this.#flag, 0) !== 0;
  }

  stop(): void {
    Atomics.store(this.#flag, 0, 1);
  }
}
