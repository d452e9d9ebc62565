/** What this machine can run, and why not: engines, memory, disk, models. Harmless: drivers are tried in child processes. */
import { availableParallelism, cpus, freemem, totalmem } from 'node:os';
import { candidates } from '../engine/select';
import type { Paths } from '../paths';
import type { AvailableModel, DoctorItem } from '../protocol';
import { inEnglish, type Saying, say, verbatim } from '../saying';
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
    const { ok, detail, said: reason, freeBytes, totalBytes, software } = await candidate.probe();
    let said = reason ?? verbatim(detail);
    if (ok && freeBytes !== undefined) {
      said =
        totalBytes === undefined
          ? say('{0}, {1} free', said, humanBytes(freeBytes))
          : say('{0}, {1} free of {2}', said, humanBytes(freeBytes), humanBytes(totalBytes));
    }
    if (ok && software === true) said = say('{0} (computes on the CPU: only used when named)', said);
    items.push(item(verbatim(candidate.name), ok, said));
  }
  const model = cpus()[0]?.model.trim() ?? process.arch;
  items.push(item(say('processor'), true, say('{0}, {1} threads', model, availableParallelism())));
  items.push(item(say('memory'), true, say('{0} free of {1}', humanBytes(freemem()), humanBytes(totalmem()))));
  items.push(disk(paths));
  const models = await installedModels(paths);
  items.push(
    item(
      say('models'),
      models.length > 0,
      models.length > 0 ? verbatim(models.map(({ name }) => name).join(', ')) : say('none in {0}', paths.models),
    ),
  );
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
        ? say('none of the known models fits in its free memory')
        : say('{0} of {1} known models fit, up to {2}', fits.length, models.length, largest.repository);
    return item(say('fits {0}', engine), largest !== undefined, detail);
  });
  const best = models.find(({ recommended }) => recommended);
  const detail =
    best === undefined
      ? say('no known model fits this machine now: free memory or disk space')
      : best.installed
        ? say('{0}, {1}, installed', best.repository, humanBytes(best.int8Bytes))
        : verbatim(`${best.repository}, ${humanBytes(best.int8Bytes)}`);
  return [...items, item(say('recommended'), best !== undefined, detail)];
}

function disk(paths: Paths): DoctorItem {
  const free = diskFree(paths.home);
  if (free === undefined) return item(say('disk'), false, say('{0} cannot be used', paths.home));
  const ok = free > LARGEST_MODEL_BYTES;
  const detail = say('{0} free in {1}', humanBytes(free), paths.home);
  return item(say('disk'), ok, ok ? detail : say('{0}; flan-ul2 needs {1}', detail, humanBytes(LARGEST_MODEL_BYTES)));
}

function item(what: Saying, ok: boolean, detail: Saying): DoctorItem {
  return { what: inEnglish(what), ok, detail: inEnglish(detail), said: { what, detail } };
}
