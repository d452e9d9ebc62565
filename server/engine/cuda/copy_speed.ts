/** How fast a card copies its own memory: what the speed of a decoder step is compared with. */
import type { CudaDriver } from './driver';

/** Much more than the second-level cache of any card. */
const MOST_BYTES = 2 ** 31;
const COPIES = 15;

/** Bytes read and written a second, the median of several copies. Takes what it needs from free memory, and frees it. */
export function copySpeed(driver: CudaDriver): number {
  const bytes = Math.min(MOST_BYTES, Math.floor(driver.memory().free * 0.4));
  const owned: bigint[] = [];
  try {
    for (let i = 0; i < 2; i++) owned.push(driver.alloc(bytes, 'measuring the memory'));
    const [from = 0n, to = 0n] = owned;
    driver.fill(from, 0x5a, bytes);
    const times = Array.from({ length: COPIES }, () => {
      const start = driver.mark();
      driver.copy(to, from, bytes);
      return driver.elapsed(start, driver.mark());
    });
    const ms = times.toSorted((a, b) => a - b)[Math.floor(COPIES / 2)] ?? Number.NaN;
    return (2 * bytes) / (ms / 1e3);
  } finally {
    for (const address of owned) driver.free(address);
  }
}
