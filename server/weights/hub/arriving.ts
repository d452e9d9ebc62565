/** The usual way: tensors are quantized as they arrive, and the original never lies on the disk. */
import { createHash } from 'node:crypto';
import { rename, rm } from 'node:fs/promises';
import { basename } from 'node:path';
import { Checkpoint } from '../checkpoint';
import type { rawConfig } from '../config';
import { inspectWeightFile } from '../file';
import { quantizerFor } from '../make';
import { type OpenModel, openOriginal } from '../model';
import { FORMAT_VERSION, scalesName } from '../plan';
import { humanBytes, inSteps } from '../small';
import { QUANTIZER_VERSION } from '../store';
import { extentOf } from '../tensorfile';
import { diskErrors, WeightWriter } from '../writer';
import { type HubPull, sizeOf } from './from_hub';
import type { ListedFile } from './hub_file';
import { errorsOf, type Journal } from './journal';
import type { Pulled } from './progress';
import { heldTogether, pullShard, type ShardTensor } from './shard';

/** The header of a weight file, roughly. */
export const HEADER_BYTES = 256 * 1024;
const NOTE_MS = 250;

/** Scattered tensors that share their bytes would all be in memory at once: such files come onto the disk first. */
export class OverlapError extends Error {}

export async function pullAsItArrives(pull: HubPull, raw: ReturnType<typeof rawConfig>): Promise<Pulled> {
  const { space, listing, files, options } = pull;
  pull.working('preparing', `Reading what the files of ${listing.repository} hold`, 0, 0);
  const model = await openOriginal(raw, await Checkpoint.read(files), 0, 'int8', options.signal);
  try {
    model.source.check(model.wanted);
    await space.checkTarget({ repository: listing.repository, source: model.identity });
    const shards = shardsOf(model);
    if ([...shards.values()].some((tensors) => heldTogether(tensors) > pull.limits.heldBytes)) throw new OverlapError();
    const weights = [...shards.keys()].map((name) => pull.listed(name));
    const companions = sizeOf(pull.companions);
    const total = sizeOf(weights) + companions;
    const { journal, resumed } = await pull.journal(keyOf(model, weights), total);
    try {
      await pull.checkSpace(model.plan.dataBytes + HEADER_BYTES + companions);
      pull.measure(total, sizeOf(weights.map((file) => ({ ...file, bytes: journal.shard(file.path)?.at ?? 0 }))));
      await pull.fetchCompanions();
      if (!(await isWritten(pull, model))) await write(pull, model, shards, journal, resumed);
    } finally {
      await journal.close();
    }
    pull.notes.unshift(...model.notes);
    return await pull.install(weights, []);
  } finally {
    await model.source.close();
  }
}

/** Which tensors of the plan lie in which file, in the order of the files. */
function shardsOf(model: OpenModel & { readonly source: Checkpoint }): Map<string, ShardTensor[]> {
  const found = new Map<string, ShardTensor[]>(model.source.files.map(({ path }) => [basename(path), []]));
  for (const [index, spec] of model.wanted.entries()) {
    const { file, info } = model.source.placeOf(spec);
    const bytes = extentOf(info);
    const held = info.scattered ? bytes : 0;
    found.get(basename(file.path))?.push({ index, offset: info.offset, bytes, held });
  }
  for (const tensors of found.values()) tensors.sort((a, b) => a.offset - b.offset);
  return new Map([...found].filter(([, tensors]) => tensors.length > 0));
}

/** Of everything that the bytes of the weight file depend on, or that a journal tells places of. */
function keyOf({ identity, plan }: OpenModel, weights: readonly ListedFile[]): string {
  const all = [FORMAT_VERSION, QUANTIZER_VERSION, identity, plan.config, weights];
  return createHash('sha256').update(JSON.stringify(all)).digest('hex');
}

/** Whether only the last steps were missing when an earlier pull ended. */
async function isWritten({ space }: HubPull, model: OpenModel): Promise<boolean> {
  const file = await inspectWeightFile(space.weights).catch(() => undefined);
  return file?.source === model.identity;
}

async function write(
  pull: HubPull,
  model: OpenModel,
  shards: ReadonlyMap<string, readonly ShardTensor[]>,
  journal: Journal,
  resumed: boolean,
): Promise<void> {
  const { signal, noteMs = NOTE_MS } = pull.options;
  const { partial, weights } = pull.space;
  const names = model.plan.specs.map(({ name }) => name);
  const writer = await openWriter(pull, model, resumed ? finishedIn(shards.keys(), journal, names) : []);
  const quantizer = quantizerFor(model.plan.dataBytes, pull.options);
  const hasher = pull.hasher(model.plan.dataBytes);
  try {
    for (const [name, tensors] of shards) {
      const remote = pull.files.opened.get(name);
      if (!remote || journal.shard(name)?.verified) continue;
      const onBytes = (bytes: number) => pull.arrived(bytes);
      const onNote = (note: string) => pull.notes.push(note);
      const { limits } = pull;
      await pullShard(remote, tensors, {
        ...{ model, writer, quantizer, hasher, journal, limits, noteMs, signal, onBytes, onNote },
      });
    }
    const { dataBytes } = model.plan;
    const message = `Reading ${humanBytes(dataBytes)} once more for their checksum`;
    const report = inSteps(({ fraction }) => pull.working('checking', message, fraction, dataBytes));
    const onRead = (bytes: number, total: number) => report({ message, fraction: bytes / total });
    await writer.finish(errorsOf(journal, shards.keys(), names), signal, onRead);
  } catch (error) {
    await writer.abandon();
    throw error;
  } finally {
    await quantizer.close();
    await hasher.close();
  }
  await diskErrors(weights, () => rename(partial, weights));
}

/** The names in the weight file that are written already. */
function finishedIn(shards: Iterable<string>, journal: Journal, names: readonly string[]): string[] {
  const finished: string[] = [];
  for (const shard of shards) {
    for (const index of journal.shard(shard)?.done.keys() ?? []) {
      const name = names[index] ?? '';
      finished.push(name, scalesName(name));
    }
  }
  return finished;
}

async function openWriter({ space, options }: HubPull, model: OpenModel, finished: string[]): Promise<WeightWriter> {
  const { partial } = space;
  const { openOutput } = options;
  if (finished.length > 0) return WeightWriter.reopen(partial, model.plan, model.identity, finished, openOutput);
  await rm(partial, { force: true });
  return WeightWriter.create(partial, model.plan, model.identity, openOutput);
}
