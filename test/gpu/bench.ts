/**
 * The speed of the CUDA engine on a model of Flan-UL2's shapes with random weights: loading, encoding, and the decoder
 * step next to the speed at which the same card copies memory.
 *
 *   node dist/gpu/bench.cjs FOLDER [layers]     writes a weight file of 20 GB into FOLDER (fewer with fewer layers)
 *
 * The weights are random, so the answers are noise; what a step reads and computes is the real model's.
 */
import { randomFillSync } from 'node:crypto';
import { closeSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { CudaDriver } from '../../server/engine/cuda/driver';
import { createCudaEngine, probeCuda } from '../../server/engine/cuda/engine';
import type { Engine } from '../../server/engine/engine';
import type { T5Config } from '../../server/weights/config';
import type { TensorPlace, WeightFile } from '../../server/weights/file';
import { BLOCK, paddedK, tensorsOf } from '../../server/weights/layout';
import { FLAN_UL2 } from '../fixtures/flan-ul2';

const NOISE_BYTES = 64 * 1024 * 1024;

/** A weight file of this architecture, int8 noise with scales that keep activations near 1. */
function noiseFile(config: T5Config, folder: string): WeightFile {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `noise-${config.decoderLayers}.safetensors`);
  const places = new Map<string, TensorPlace>();
  let offset = 4096;
  const add = (name: string, dtype: TensorPlace['dtype'], shape: readonly number[], size: number) => {
    const bytes = shape.reduce((a, b) => a * b, size);
    places.set(name, { offset, bytes, dtype, shape });
    offset += Math.ceil(bytes / BLOCK) * BLOCK;
  };
  for (const { name, shape, kind } of tensorsOf(config)) {
    const [n = 0, k = 0] = shape;
    if (kind === 'vector') add(name, 'F32', shape, 4);
    else {
      add(name, 'U8', [n, paddedK(k)], 1);
      add(`${name}.scales`, 'F16', [n, paddedK(k) / BLOCK], 2);
    }
  }
  const written = (() => {
    try {
      return statSync(path).size === offset;
    } catch {
      return false;
    }
  })();
  if (!written) write(path, places, offset);
  return {
    path,
    format: 'int8',
    config,
    fileBytes: offset,
    changedMs: 0,
    dataStart: 4096,
    sha256: '',
    source: '',
    errors: [],
    names: [...places.keys()],
    offsetOf(name) {
      const place = places.get(name);
      if (!place) throw new RangeError(`No tensor ${name}.`);
      return place;
    },
  };
}

function write(path: string, places: ReadonlyMap<string, TensorPlace>, total: number): void {
  const noise = randomFillSync(Buffer.allocUnsafe(NOISE_BYTES));
  // 0 stands for -128, which the quantizer never writes.
  for (let i = 0; i < noise.length; i++) if (noise[i] === 0) noise[i] = 128;
  const scale = new Uint16Array(1 << 20).fill(0x0f00); // fp16 4.3e-4: 73 * 4.3e-4 * sqrt(1024) = 1
  const ones = new Float32Array(1 << 16).fill(1);
  const file = openSync(path, 'w');
  for (const { offset, bytes, dtype } of places.values()) {
    const from = dtype === 'U8' ? noise : Buffer.from((dtype === 'F16' ? scale : ones).buffer);
    for (let at = 0; at < bytes; at += from.length) {
      writeSync(file, from, 0, Math.min(from.length, bytes - at), offset + at);
    }
  }
  writeSync(file, Buffer.alloc(1), 0, 1, total - 1);
  closeSync(file);
}

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

async function steps(engine: Engine, source: number, copy: number): Promise<void> {
  const { config } = engine;
  const ids = Int32Array.from({ length: source }, (_, i) => 3 + ((i * 7919) % (config.vocabSize - 3)));
  const times: number[] = [];
  for (let i = 0; i < 5; i++) {
    const start = performance.now();
    const memory = await engine.encode(ids);
    times.push(performance.now() - start);
    memory.dispose();
  }
  console.log(`encode ${source} tokens: ${median(times).toFixed(1)} ms`);
  const memory = await engine.encode(ids);
  const inner = config.numHeads * config.dKv;
  for (const [rows, perRow] of [
    [1, 1],
    [8, 1],
    [1, 8],
  ] as const) {
    const decoder = await engine.decoder(memory, rows, 512);
    const tokens = new Int32Array(rows * perRow).fill(5);
    for (let i = 0; i < 5; i++) await decoder.step(tokens, perRow, { kind: 'argmax' });
    const stepTimes: number[] = [];
    const n = Math.floor(60 / perRow) + 20;
    for (let i = 0; i < n; i++) {
      const start = performance.now();
      await decoder.step(tokens, perRow, { kind: 'argmax' });
      stepTimes.push(performance.now() - start);
    }
    const cache = 4 * config.decoderLayers * rows * inner * (decoder.length / 2);
    const bytes = engine.info.stepWeightBytes + 4 * config.decoderLayers * inner * source + cache;
    const ms = median(stepTimes);
    const share = ((100 * bytes) / ms / 1e-3 / copy).toFixed(1);
    console.log(
      `${source} source tokens, ${rows} x ${perRow}: ${ms.toFixed(3)} ms a step, ${share} % of the copy speed`,
    );
    decoder.dispose();
  }
  memory.dispose();
}

async function main(): Promise<void> {
  const probe = probeCuda();
  if (!probe.ok) {
    console.log(`Nothing was run: ${probe.reason}`);
    return;
  }
  const [folder = 'artifacts/bench', layers = '32'] = process.argv.slice(2);
  const config = { ...FLAN_UL2, encoderLayers: Number(layers), decoderLayers: Number(layers) };
  let start = performance.now();
  const file = noiseFile(config, folder);
  console.log(`wrote ${(file.fileBytes / 1e9).toFixed(1)} GB in ${((performance.now() - start) / 1e3).toFixed(1)} s`);
  const copy = copySpeed();
  start = performance.now();
  const engine = await createCudaEngine({ file, config });
  const seconds = (performance.now() - start) / 1e3;
  const speed = file.fileBytes / 1e9 / seconds;
  console.log(
    `${engine.info.device}: copies at ${(copy / 1e12).toFixed(2)} TB/s; loaded in ${seconds.toFixed(1)} s, ${speed.toFixed(1)} GB/s`,
  );
  for (const source of [512, 2048]) await steps(engine, source, copy);
  await engine.dispose();
}

void main();
