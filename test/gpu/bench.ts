/**
 * The speed of the CUDA engine on models of real size with random weights: loading, and the table of `flan bench --table`.
 *
 *   node dist/gpu/bench.cjs FOLDER [MODEL...]     MODEL: flan-ul2 (default), flan-t5-xl, flan-t5-xxl; writes their weight
 *                                                 files (20, 3 and 11 GB) into FOLDER; `flan-ul2:8` has 8 layers
 */
import { rmSync } from 'node:fs';
import { describeTable, measureTable } from '../../server/cli/bench_table';
import { createCudaEngine, probeCuda } from '../../server/engine/cuda/engine';
import type { T5Config } from '../../server/weights/config';
import { FLAN_T5_XL, FLAN_T5_XXL, FLAN_UL2 } from '../fixtures/family';
import { noiseFile } from './noise';

const MODELS: Readonly<Record<string, T5Config>> = {
  'flan-ul2': FLAN_UL2,
  'flan-t5-xl': FLAN_T5_XL,
  'flan-t5-xxl': FLAN_T5_XXL,
};

async function model(name: string, folder: string): Promise<void> {
  const [key = '', layers] = name.split(':');
  const full = MODELS[key];
  if (full === undefined) throw new RangeError(`No model ${key}: ${Object.keys(MODELS).join(', ')}.`);
  const config = layers ? { ...full, encoderLayers: Number(layers), decoderLayers: Number(layers) } : full;
  const file = noiseFile(config, folder);
  const load = async () => {
    const start = performance.now();
    const engine = await createCudaEngine({ file, config });
    return { engine, rate: (file.fileBytes / 1e6 / (performance.now() - start)).toFixed(2) };
  };
  // The first load finds the file in the page cache as far as writing it left it there; the second surely.
  const first = await load();
  await first.engine.dispose();
  const { engine, rate } = await load();
  console.log(`${name}: ${(file.fileBytes / 1e9).toFixed(1)} GB, loaded at ${first.rate}, again ${rate} GB/s`);
  const table = await measureTable(engine, { steps: 50, encodes: 5 });
  for (const line of describeTable(table)) console.log(`  ${line}`);
  await engine.dispose();
  rmSync(file.path);
}

async function main(): Promise<void> {
  const probe = probeCuda();
  if (!probe.ok) {
    console.log(`Nothing was run: ${probe.reason}`);
    return;
  }
  console.log(probe.device.name);
  const [folder = 'artifacts/bench', ...names] = process.argv.slice(2);
  for (const name of names.length > 0 ? names : ['flan-ul2']) await model(name, folder);
}

void main();
