/**
 * Writes a checkpoint with random weights and the shapes of Flan-UL2, in BF16, as PyTorch `.bin` shards (what its own
 * repository has) or as one safetensors file, for measurements at full size.
 *
 * node test/bench/run.mjs synthetic DIR [--layers N] [--shards N | --safetensors]
 */
import { mkdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { FLAN_UL2 } from '../fixtures/family';
import { type SyntheticFile, syntheticFiles } from './synthetic_files';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    layers: { type: 'string', default: String(FLAN_UL2.encoderLayers) },
    shards: { type: 'string', default: '8' },
    safetensors: { type: 'boolean', default: false },
  },
});

async function main(): Promise<void> {
  const [dir] = positionals;
  if (dir === undefined) throw new Error('Usage: synthetic DIR [--layers N] [--shards N | --safetensors]');
  mkdirSync(dir, { recursive: true });
  const form = values.safetensors ? {} : { shards: Number(values.shards) };
  for (const [name, file] of syntheticFiles({ layers: Number(values.layers), ...form })) {
    await write(join(dir, name), file);
    console.log(`${name}: ${file.bytes} bytes`);
  }
}

async function write(path: string, file: SyntheticFile): Promise<void> {
  const output = await open(path, 'w');
  try {
    for (const chunk of file.read(0, file.bytes)) await output.write(chunk);
  } finally {
    await output.close();
  }
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
