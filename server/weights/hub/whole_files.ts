/** The other way: the original files come onto the disk first, because they are kept, or because the server sends no parts. */
import { createHash } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Checkpoint } from '../checkpoint';
import { parseConfig, type rawConfig } from '../config';
import { convertCheckpoint } from '../convert';
import { openOriginal } from '../model';
import { planOf } from '../plan';
import { HEADER_BYTES } from './arriving';
import { type HubPull, sizeOf } from './from_hub';
import type { Pulled } from './progress';
import { weightNames } from './repository';
import { fetchWhole } from './whole_file';

export interface WholeOptions {
  /** The original files stay beside the int8 weights. */
  readonly keep: boolean;
  readonly ranges: boolean;
}

export async function pullWholeFiles(
  pull: HubPull,
  raw: ReturnType<typeof rawConfig>,
  { keep, ranges }: WholeOptions,
): Promise<Pulled> {
  const { space, options, limits } = pull;
  const dataBytes = await plannedBytes(pull, raw, ranges);
  const names = await weightNames(pull.listing, pull.files);
  const weights = names.map((name) => pull.listed(name));
  const total = sizeOf([...weights, ...pull.companions]);
  const key = createHash('sha256')
    .update(JSON.stringify(['whole', weights]))
    .digest('hex');
  await (await pull.journal(key, total)).journal.close();
  await pull.checkSpace(total + dataBytes + HEADER_BYTES);
  pull.measure(total, 0);
  await pull.fetchCompanions();
  const hasher = pull.hasher(dataBytes);
  const onBytes = (bytes: number) => pull.arrived(bytes);
  const onNote = (note: string) => pull.notes.push(note);
  try {
    for (const name of names) {
      await fetchWhole(pull.files.file(name), join(space.folder, name), { hasher, limits, ranges, onBytes, onNote });
    }
  } finally {
    await hasher.close();
  }
  const { signal, quantizerFile, openOutput, freeBytes } = options;
  const { notes } = await convertCheckpoint({
    ...{ source: space.folder, out: space.weights, format: 'int8', signal, quantizerFile },
    ...(openOutput ? { openOutput } : {}),
    ...(freeBytes ? { freeBytes } : {}),
    onProgress: ({ message, fraction }) => pull.working('converting', message, fraction, dataBytes),
  });
  pull.notes.unshift(...notes);
  if (!keep) for (const name of names) await rm(join(space.folder, name), { force: true });
  return pull.install(weights, keep ? weights : []);
}

/** Size of the int8 weights. Where the headers can be read, the whole checkpoint is judged before it is fetched. */
async function plannedBytes(pull: HubPull, raw: ReturnType<typeof rawConfig>, ranges: boolean): Promise<number> {
  if (!ranges) return planOf(parseConfig(raw, { lmHead: false }), 'int8').dataBytes;
  const model = await openOriginal(raw, await Checkpoint.read(pull.files), 0, 'int8', pull.options.signal);
  try {
    model.source.check(model.wanted);
    return model.plan.dataBytes;
  } finally {
    await model.source.close();
  }
}
