/** What this machine can run, and why not: engines, memory, disk, models. Harmless: drivers are tried in child processes. */
import { mkdirSync, statfsSync } from 'node:fs';
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { candidates } from '../engine/select';
import type { Paths } from '../paths';
import type { DoctorItem } from '../protocol';
import { humanBytes } from '../weights/small';
import { installedModels } from './models';

/** Flan-UL2 in int8: what the largest model of the family needs on the disk, and again in memory. */
const LARGEST_MODEL_BYTES = 20e9;

/** `find`: seam for tests. */
export async function doctorItems(paths: Paths, find: typeof candidates = candidates): Promise<DoctorItem[]> {
  const items: DoctorItem[] = [];
  for (const candidate of find()) {
    const { ok, detail, freeBytes, software } = await candidate.probe();
    const free = freeBytes === undefined ? '' : `, ${humanBytes(freeBytes)} free`;
    const slow = software === true ? ' (computes on the CPU: only used when named)' : '';
    items.push({ what: candidate.name, ok, detail: `${detail}${ok ? `${free}${slow}` : ''}` });
  }
  const model = cpus()[0]?.model.trim() ?? process.arch;
  items.push({ what: 'processor', ok: true, detail: `${model}, ${availableParallelism()} threads` });
  items.push({ what: 'memory', ok: true, detail: `${humanBytes(freemem())} free of ${humanBytes(totalmem())}` });
  items.push(disk(paths));
  const models = await installedModels(paths);
  items.push({
    what: 'models',
    ok: models.length > 0,
    detail: models.length > 0 ? models.map(({ name }) => name).join(', ') : `none in ${paths.models}`,
  });
  return items;
}

function disk(paths: Paths): DoctorItem {
  try {
    mkdirSync(paths.home, { recursive: true });
    const { bavail, bsize } = statfsSync(paths.home);
    const free = bavail * bsize;
    const ok = free > LARGEST_MODEL_BYTES;
    const detail = `${humanBytes(free)} free in ${paths.home}`;
    return { what: 'disk', ok, detail: ok ? detail : `${detail}; flan-ul2 needs ${humanBytes(LARGEST_MODEL_BYTES)}` };
  } catch (error) {
    return { what: 'disk', ok: false, detail: `${paths.home}: ${error instanceof Error ? error.message : error}` };
  }
}
