import { CancelledError } from '../../errors';
import type { StopSignal } from '../engine';
import type { CudaDriver } from './driver';

/**
 * Keeps at most two layers queued on the card while somebody may stop the work: the card never waits for the host, and a
 * stop takes effect within two layers.
 */
export class Pace {
  readonly #driver: CudaDriver;
  readonly #signal: StopSignal | undefined;
  #marks: bigint[] = [];

  constructor(driver: CudaDriver, signal: StopSignal | undefined) {
    this.#driver = driver;
    this.#signal = signal;
  }

  next(): void {
    if (!this.#signal) return;
    this.#marks.push(this.#driver.mark());
    if (this.#marks.length > 2) {
      const oldest = this.#marks.shift();
      if (oldest !== undefined) {
        this.#driver.waitFor(oldest);
        this.#driver.forget(oldest);
      }
    }
    if (this.#signal.stopped) {
      this.#driver.synchronize();
      throw new CancelledError();
    }
  }

  end(): void {
    for (const mark of this.#marks.splice(0)) this.#driver.forget(mark);
  }
}
