/** How many threads a CPU engine should use, and what the CPU is called. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { type Saying, say } from '../../saying';

/**
 * One thread a physical core, and no more than this process may use: the second thread of a core shares its units for
 * multiplication, and a matrix product gains nothing from it.
 */
export function defaultThreads(): number {
  return Math.max(1, Math.min(physicalCores(), availableParallelism()));
}

function physicalCores(): number {
  const logical = cpus().length || 1;
  if (process.platform === 'linux') {
    try {
      const cores = new Set<string>();
      for (let cpu = 0; cpu < logical; cpu++) {
        cores.add(readFileSync(`/sys/devices/system/cpu/cpu${cpu}/topology/thread_siblings_list`, 'utf8').trim());
      }
      return cores.size;
    } catch {
      // No topology in this container: judge by the architecture, below.
    }
  }
  // Apple's and Windows' ARM processors have one thread a core; x86 ones mostly two.
  return process.arch === 'arm64' || logical <= 2 ? logical : Math.ceil(logical / 2);
}

export function cpuName(threads: number): Saying {
  const model = cpus()[0]?.model.trim().replace(/\s+/g, ' ') ?? '';
  const name = model === '' || model === 'unknown' ? 'CPU' : `CPU ${model}`;
  return threads === 1 ? say('{0} (1 thread)', name) : say('{0} ({1} threads)', name, threads);
}
