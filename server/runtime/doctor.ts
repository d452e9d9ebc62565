/** What this machine can run, and why not: engines, memory, disk, models. Harmless: drivers are tried in child processes. */
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { candidates } from '../engine/select';
import type { Paths } from '../paths';
import type { AvailableModel, DoctorItem } from '../protocol';
import { humanBytes } from '../weights/small';
import { type AvailableOptions, availableModels, diskFree } from './available';
import { installedModels } from './models';

/** Flan-UL2 in int8: what the largest model of the family needs on the disk, and again in memory. */
const LARGEST_MODEL_BYTES = 20e9;

export async function doctorItems(paths: Paths, options: AvailableOptions = {}): Promise<DoctorItem[]> {
  // Each device is looked for once: some take a child process.
  const engines = (options.find ?? candidates)().map((candidate) => {
    const probe = candidate.probe();
    return { ...candidate, probe: () => probe };
  });
  const items: DoctorItem[] = [];
  for (const candidate of engines) {
    const { ok, detail, freeBytes, totalBytes, software } = await candidate.probe();
    const of = totalBytes === undefined ? '' : ` of ${humanBytes(totalBytes)}`;
    const free = freeBytes === undefined ? '' : `, ${humanBytes(freeBytes)} free${of}`;
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
  return [...items, ...fitting(await availableModels(paths, { ...options, find: () => engines }))];
}

/** The largest model that each engine has room for now, and the one that suits this machine best. */
function fitting(models: readonly AvailableModel[]): DoctorItem[] {
  const engines = [...new Set(models.flatMap((model) => model.engines.map(({ engine }) => engine)))];
  const items = engines.map((engine): DoctorItem => {
    const fits = models.filter((model) => model.engines.some((one) => one.engine === engine && one.fits));
    const largest = fits.reduce<AvailableModel | undefined>(
      (most, model) => (model.parameters > (most?.parameters ?? 0) && model.tasks.includes('ask') ? model : most),
      undefined,
    );
    const detail =
      largest === undefined
        ? 'none of the known models fits in its free memory'
        : `${fits.length} of ${models.length} known models fit, up to ${largest.repository}`;
    return { what: `fits ${engine}`, ok: largest !== undefined, detail };
  });
  const best = models.find(({ recommended }) => recommended);
  const detail =
    best === undefined
      ? 'no known model fits this machine now: free memory or disk space'
      : `${best.repository}, ${humanBytes(best.int8Bytes)}${best.installed ? ', installed' : ''}`;
  return [...items, { what: 'recommended', ok: best !== undefined, detail }];
}

function disk(paths: Paths): DoctorItem {
  const free = diskFree(paths.home);
  if (free === undefined) return { what: 'disk', ok: false, detail: `${paths.home} cannot be used` };
  const ok = free > LARGEST_MODEL_BYTES;
  const detail = `${humanBytes(free)} free in ${paths.home}`;
  return { what: 'disk', ok, detail: ok ? detail : `${detail}; flan-ul2 needs ${humanBytes(LARGEST_MODEL_BYTES)}` };
}
