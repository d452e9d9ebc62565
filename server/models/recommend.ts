/** Which known models fit this machine, and which one of them suits it best. Pure: what is free is given. */
import type { Candidate, Probe } from '../engine/candidate';
import type { AvailableModel, EngineFit } from '../protocol';
import type { RegistryModel } from './registry';

/** An engine that this machine has, and what a model may take of it. */
export interface Place {
  readonly engine: Pick<Candidate, 'name' | 'needBytes'>;
  readonly probe: Probe;
  /** What the loaded model would give back. */
  readonly heldBytes: number;
}

export interface Surroundings {
  /** Preferred first. Ones that are not there, or compute on the CPU, are left out of the result. */
  readonly places: readonly Place[];
  /** On the disk that models are kept on; undefined where it cannot be told. */
  readonly diskBytes: number | undefined;
  /** Names of installed models. */
  readonly installed: ReadonlySet<string>;
}

/** A file system slows down, and other programs fail, when the last bytes are taken. */
const DISK_MARGIN = 1.05;
/**
 * Most parameters that are recommended for a processor: it reads half of them for every token, which at this size takes a
 * laptop some 50 ms. Larger ones run, and can be chosen.
 */
const MOST_ON_CPU = 1e9;

export function available(models: readonly RegistryModel[], around: Surroundings): AvailableModel[] {
  const seen = models.map((model) => {
    const installed = around.installed.has(model.name.toLowerCase());
    const diskFits = installed || around.diskBytes === undefined || model.int8Bytes * DISK_MARGIN <= around.diskBytes;
    return { model, installed, diskFits, engines: fitsOf(model, around.places) };
  });
  let best: (typeof seen)[number] | undefined;
  for (const one of seen) {
    if (suits(one) && one.model.parameters > (best?.model.parameters ?? 0)) best = one;
  }
  return seen.map((one) => {
    const { config: _, family: __, trainedLength: ___, ...known } = one.model;
    const { installed, diskFits, engines } = one;
    return { ...known, installed, diskFits, engines, recommended: one === best };
  });
}

/** The engines that are there and compute by themselves, in the order of `places`. */
export function fitsOf(
  { config, int8Bytes }: Pick<RegistryModel, 'config' | 'int8Bytes'>,
  places: readonly Place[],
): EngineFit[] {
  const usable = places.filter(({ probe }) => probe.ok && probe.software !== true);
  return usable.map(({ engine, probe, heldBytes }) => {
    const needBytes = Math.ceil(engine.needBytes({ config, fileBytes: int8Bytes }));
    const freeBytes = probe.freeBytes === undefined ? undefined : probe.freeBytes + heldBytes;
    const fits = freeBytes === undefined || needBytes <= freeBytes;
    return {
      engine: engine.name,
      device: probe.detail,
      fits,
      needBytes,
      ...(freeBytes === undefined ? {} : { freeBytes }),
    };
  });
}

/** Trained for all tasks, and on an engine that is fast enough for it and surely has the memory. */
function suits({
  model,
  diskFits,
  engines,
}: Pick<AvailableModel, 'diskFits' | 'engines'> & { readonly model: RegistryModel }) {
  const all = (['explain', 'summarize', 'ask'] as const).every((task) => model.tasks.includes(task));
  const fast = engines.some(
    ({ engine, fits, freeBytes }) =>
      fits && freeBytes !== undefined && (engine !== 'cpu' || model.parameters <= MOST_ON_CPU),
  );
  return all && diskFits && fast;
}
