/**
 * The speed of the CUDA engine on models of real size with random weights: loading, encoding, the first word, and the
 * decoder step next to the speed at which the same card copies memory; and how much of the card a long request takes.
 *
 *   node dist/gpu/bench.cjs FOLDER [MODEL...]     MODEL: flan-ul2 (default), flan-t5-xl, flan-t5-xxl; writes their weight
 *                                                 files (20, 3 and 11 GB) into FOLDER; `flan-ul2:8` has 8 layers
 */
import { rmSync } from 'node:fs';
import { CudaDriver } from '../../server/engine/cuda/driver';
import { createCudaEngine, probeCuda } from '../../server/engine/cuda/engine';
import type { Engine } from '../../server/engine/engine';
import { generate } from '../../server/generate/generate';
import type { T5Config } from '../../server/weights/config';
import { FLAN_T5_XL, FLAN_T5_XXL, FLAN_UL2 } from '../fixtures/family';
import { noiseFile } from './noise';

const MODELS: Readonly<Record<string, T5Config>> = {
  'flan-ul2': FLAN_UL2,
  'flan-t5-xl': FLAN_T5_XL,
  'flan-t5-xxl': FLAN_T5_XXL,
};
/** Rows and tokens a row of one step. */
const FORMS = [
  [1, 1],
  [1, 4],
  [1, 8],
  [4, 1],
  [8, 1],
  [16, 1],
] as const;
const STEPS = 60;

/** Bytes read and written a second by a large copy on the card. */
function copySpeed(): number {
  const driver = CudaDriver.open();
  const bytes = 2 ** 31;
  const from = driver.alloc(bytes, 'the copy');
  const to = driver.alloc(bytes, 'the copy');
  driver.fill(from, 0x5a, bytes);
  const times = Array.from({ length: 15 }, () => {
    const start = driver.mark();
    driver.copy(to, from, bytes);
    return driver.elapsed(start, driver.mark());
  });
  driver.close();
  return (2 * bytes) / median(times) / 1e-3;
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}

/** Token ids that are no special ones, spread over the vocabulary. */
function sourceOf(config: T5Config, tokens: number): Int32Array {
  return Int32Array.from({ length: tokens }, (_, i) => 3 + ((i * 7919) % (config.vocabSize - 3)));
}

async function timed<T>(work: () => Promise<T>): Promise<[number, T]> {
  const start = performance.now();
  const result = await work();
  return [performance.now() - start, result];
}

async function encoding(engine: Engine, tokens: number): Promise<number> {
  const ids = sourceOf(engine.config, tokens);
  const times: number[] = [];
  for (let i = 0; i < 7; i++) {
    const [ms, memory] = await timed(() => engine.encode(ids));
    memory.dispose();
    if (i > 1) times.push(ms);
  }
  return median(times);
}

/** Median milliseconds of a step of each form, host's share included, after `cached` tokens. */
async function steps(engine: Engine, source: number, cached: number, copy: number): Promise<void> {
  const { config } = engine;
  const memory = await engine.encode(sourceOf(config, source));
  const inner = config.numHeads * config.dKv;
  let one = NaN;
  for (const [rows, perRow] of FORMS) {
    const decoder = await engine.decoder(memory, rows, cached + 8);
    for (let i = 0; i < cached; i += 8) {
      const count = Math.min(8, cached - i);
      await decoder.step(new Int32Array(rows * count).fill(5), count, { kind: 'argmax' });
    }
    const tokens = new Int32Array(rows * perRow).fill(5);
    const times: number[] = [];
    for (let i = 0; i < STEPS; i++) {
      const [ms] = await timed(() => decoder.step(tokens, perRow, { kind: 'argmax' }));
      if (i >= 5) times.push(ms);
      await decoder.truncate(cached);
    }
    const ms = median(times);
    if (rows * perRow === 1) one = ms;
    const cache = 4 * config.decoderLayers * rows * inner * cached;
    const bytes = engine.info.stepWeightBytes + 4 * config.decoderLayers * inner * source + cache;
    const share = (100 * bytes) / ms / 1e-3 / copy;
    console.log(
      `  step, ${source} source, ${cached} cached, ${rows} rows x ${perRow}: ${ms.toFixed(3)} ms, ${share.toFixed(1)} % of copy speed, ${(ms / one).toFixed(2)} x one`,
    );
    decoder.dispose();
  }
  memory.dispose();
}

/** Time to the first token of a prompt of `tokens`, and what is left of it beside the encoder and two steps. */
async function firstWord(engine: Engine, tokens: number): Promise<void> {
  const ids = [...sourceOf(engine.config, tokens)];
  const encode = await encoding(engine, tokens);
  const firsts: number[] = [];
  let step = NaN;
  for (let i = 0; i < 5; i++) {
    const { timings } = await generate(engine, ids, { kind: 'greedy', maxNewTokens: 24 });
    firsts.push(timings.firstTokenMs);
    step = timings.msPerToken;
  }
  const first = median(firsts);
  const rest = first - encode - 2 * step;
  console.log(
    `  first token of ${tokens} source tokens: ${first.toFixed(1)} ms = encoder ${encode.toFixed(1)} + 2 x ${step.toFixed(2)} + ${rest.toFixed(1)}`,
  );
}

/** GPU memory in use while 2048 source tokens are answered with 512 new ones. */
async function peak(engine: Engine, freeBefore: number): Promise<void> {
  let least = Number.POSITIVE_INFINITY;
  const look = () => {
    const probe = probeCuda();
    if (probe.ok) least = Math.min(least, probe.freeBytes);
  };
  const ids = [...sourceOf(engine.config, 2048)];
  let seen = 0;
  const { ids: answer } = await generate(
    engine,
    ids,
    { kind: 'greedy', maxNewTokens: 512 },
    { onTokens: () => seen++ % 128 === 0 && look() },
  );
  // The context that looks takes memory of its own while it looks.
  const own = await ownContext();
  const used = freeBefore - least - own;
  console.log(`  memory with 2048 source and ${answer.length} new tokens: ${(used / 2 ** 30).toFixed(2)} GiB`);
}

async function ownContext(): Promise<number> {
  const first = CudaDriver.open();
  const before = first.memory().free;
  const second = CudaDriver.open();
  const bytes = before - second.memory().free;
  second.close();
  first.close();
  return bytes;
}

async function model(name: string, folder: string, copy: number): Promise<void> {
  const [key = '', layers] = name.split(':');
  const full = MODELS[key];
  if (full === undefined) throw new RangeError(`No model ${key}: ${Object.keys(MODELS).join(', ')}.`);
  const config = layers ? { ...full, encoderLayers: Number(layers), decoderLayers: Number(layers) } : full;
  const file = noiseFile(config, folder);
  const probe = probeCuda();
  const free = probe.ok ? probe.freeBytes : NaN;
  // The first load finds the file in the page cache as far as writing it left it there; the second surely.
  const [firstMs, first] = await timed(() => createCudaEngine({ file, config }));
  await first.dispose();
  const [ms, engine] = await timed(() => createCudaEngine({ file, config }));
  const rate = (milliseconds: number) => (file.fileBytes / 1e6 / milliseconds).toFixed(2);
  console.log(`${name}: ${(file.fileBytes / 1e9).toFixed(1)} GB, loaded at ${rate(firstMs)}, again ${rate(ms)} GB/s`);
  for (const tokens of [512, 1000, 2048]) {
    console.log(`  encode ${tokens} tokens: ${(await encoding(engine, tokens)).toFixed(1)} ms`);
  }
  await steps(engine, 512, 48, copy);
  await steps(engine, 512, 400, copy);
  await steps(engine, 2048, 48, copy);
  await firstWord(engine, 1000);
  await peak(engine, free);
  await engine.dispose();
  rmSync(file.path);
}

async function main(): Promise<void> {
  const probe = probeCuda();
  if (!probe.ok) {
    console.log(`Nothing was run: ${probe.reason}`);
    return;
  }
  const [folder = 'artifacts/bench', ...names] = process.argv.slice(2);
  const copy = copySpeed();
  console.log(`${probe.device.name} copies at ${(copy / 1e12).toFixed(2)} TB/s (bytes read and written)`);
  for (const name of names.length > 0 ? names : ['flan-ul2']) await model(name, folder, copy);
}

void main();
