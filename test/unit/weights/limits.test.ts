/** Files that are read whole have a largest size: what is beyond is refused before a byte of it is in memory. */
import { copyFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { TextCodec } from '../../../server/text/codec';
import { TokenizerError } from '../../../server/text/folder';
import { Checkpoint } from '../../../server/weights/checkpoint';
import { readConfig } from '../../../server/weights/config';
import { NotAModelError, SafetensorsError } from '../../../server/weights/errors';
import { rejection, temporaryFolder, writeCheckpoint } from './support';

const folder = temporaryFolder();

/** A file of zeros that takes no room on the disk. */
function sparse(dir: string, name: string, bytes: number): void {
  writeFileSync(join(dir, name), '');
  truncateSync(join(dir, name), bytes);
}

it.each([
  ['config.json', NotAModelError, (dir: string) => readConfig(dir)],
  ['model.safetensors.index.json', SafetensorsError, (dir: string) => Checkpoint.open(dir)],
  ['tokenizer.json', TokenizerError, (dir: string) => TextCodec.open(dir)],
  ['spiece.model', TokenizerError, (dir: string) => TextCodec.open(dir)],
] as const)('%s of 1 TB', async (name, type, read) => {
  const dir = join(folder, name);
  writeCheckpoint(dir, { shards: 2 });
  copyFileSync(join(dir, 'config.json'), join(dir, 'tokenizer.json'));
  sparse(dir, name, 1e12);
  const error = await rejection(read(dir));
  expect(error).toBeInstanceOf(type);
  expect(error.message).toMatch(/1000\.0 GB, and such a file has at most \d+ MB/);
  expect(error.message).toContain(name);
  expect(error.message).not.toContain('\n');
});
