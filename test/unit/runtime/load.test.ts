// Whether a model has room is known before its weights are read.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, it } from 'vitest';
import type { Candidate } from '../../../server/engine/candidate';
import type { Engine, EngineName } from '../../../server/engine/engine';
import { OutOfMemoryError } from '../../../server/engine/errors';
import { type LoadRequest, loadModel } from '../../../server/runtime/load';
import { INT8_FILE } from '../../../server/weights/checkpoint';
import { convertFolder } from '../../../server/weights/convert';
import { WeightFileError } from '../../../server/weights/errors';
import { rejection, temporaryFolder, writeCheckpoint } from '../weights/support';

const folder = temporaryFolder();
const original = join(folder, 'original');
/** Its last bytes are wrong, which only reading all of it finds. */
const damaged = join(folder, 'damaged');

beforeAll(async () => {
  mkdirSync(original);
  writeCheckpoint(original);
  await convertFolder(original, damaged);
  const path = join(damaged, INT8_FILE);
  const bytes = readFileSync(path);
  bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) ^ 1;
  writeFileSync(path, bytes);
});

/** An engine on which a model needs its file's size, and that cannot load any. */
function engineWith(freeBytes: number, name: EngineName = 'cpu'): Candidate {
  return {
    name,
    several: true,
    probe: async () => ({ ok: true, detail: 'a device', freeBytes }),
    needBytes: ({ fileBytes }) => fileBytes,
    create: async (): Promise<Engine> => {
      throw new Error('not in this test');
    },
  };
}

const load = (dir: string, find: Candidate[], more: Partial<LoadRequest> = {}) =>
  loadModel({
    ...{ folders: [{ name: 'tiny', dir, demo: false, state: '' }], engine: 'auto', weights: 'int8' },
    ...{ cacheDir: join(folder, 'cache'), find: () => find },
    ...more,
  });

it('a model that does not fit is refused by its header, before its checksum', async () => {
  expect(await rejection(load(damaged, [engineWith(1000)]))).toBeInstanceOf(OutOfMemoryError);
  expect(await rejection(load(damaged, [engineWith(1000)], { engine: 'cpu' }))).toBeInstanceOf(OutOfMemoryError);
  // With room for it, it is read, and found damaged.
  expect(await rejection(load(damaged, [engineWith(1e9)]))).toBeInstanceOf(WeightFileError);
  expect(await rejection(load(damaged, [engineWith(1, 'cuda'), engineWith(1e9)]))).toBeInstanceOf(WeightFileError);
});

it('an original checkpoint is refused before it is converted', async () => {
  const messages: string[] = [];
  const onProgress: LoadRequest['onProgress'] = (progress) => messages.push(JSON.stringify(progress));
  expect(await rejection(load(original, [engineWith(1000)], { onProgress }))).toBeInstanceOf(OutOfMemoryError);
  expect(messages.join()).not.toMatch(/Quantizing/);
});

it('the memory of the model that leaves counts as free, on its engine', async () => {
  const bytes = readFileSync(join(damaged, INT8_FILE)).length;
  const small = { config: { dModel: 1 } as never, fileBytes: 2000 };
  const with2000 = (engine: EngineName) => ({ held: [{ engine, size: small, free: async () => {} }] });
  expect(await rejection(load(damaged, [engineWith(bytes - 2000)], with2000('cpu')))).toBeInstanceOf(WeightFileError);
  expect(await rejection(load(damaged, [engineWith(bytes - 2001)], with2000('cpu')))).toBeInstanceOf(OutOfMemoryError);
  expect(await rejection(load(damaged, [engineWith(bytes - 2000)], with2000('cuda')))).toBeInstanceOf(OutOfMemoryError);
});
