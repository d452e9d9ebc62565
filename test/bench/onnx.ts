/**
 * Speed of the CPU engine on a pre-quantized model, in int8 and in float32: loading, encoding, each token, four rows; and
 * how far a token is from the floor, the time in which this machine's memory can deliver the weights of a step.
 *
 * node test/bench/run.mjs onnx [MODEL_DIR]
 */
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import type { Decoder, Engine } from '../../server/engine/engine';
import { createOnnxEngine } from '../../server/engine/onnx/engine';
import { convertCheckpoint } from '../../server/weights/convert';
import { openWeightFile, type WeightFile } from '../../server/weights/file';

const dir = process.argv[2] ?? join('models', 'starter');
const STEPS = 100;

async function main(): Promise<void> {
  console.log(`${cpus()[0]?.model ?? 'CPU'}, ${cpus().length} threads, load average ${loadavg()[0]?.toFixed(1)}`);
  const bandwidth = readBandwidth();
  console.log(`memory: one thread reads ${(bandwidth / 1e9).toFixed(1)} GB/s (comparing two buffers of 256 MB)\n`);
  const int8 = await openWeightFile(join(dir, 'model.int8.safetensors'));
  const out = join('.cache', 'bench', 'float32.safetensors');
  const fp32 = (await convertCheckpoint({ source: dir, out, format: 'fp32', reuse: true })).file;
  // Native code is read from the disk once: not part of what a second load costs.
  await (await open(int8)).dispose();
  for (const file of [int8, fp32]) await measure(file, bandwidth);
}

async function measure(file: WeightFile, bandwidth: number): Promise<void> {
  const loads: number[] = [];
  for (let i = 0; i < 3; i++) {
    const start = performance.now();
    const engine = await open(file);
    loads.push(performance.now() - start);
    await engine.dispose();
  }
  const engine = await open(file);
  console.log(`${file.format} on ${engine.info.device}, ${(engine.info.stepWeightBytes / 1e6).toFixed(1)} MB a step`);
  console.log(`  load                   ${range(loads)}`);
  for (const length of [100, 500]) {
    const ids = Int32Array.from({ length }, (_, i) => 5 + ((i * 7919) % (engine.config.vocabSize - 5)));
    const encodes: number[] = [];
    for (let i = 0; i < 10; i++) {
      const start = performance.now();
      (await engine.encode(ids)).dispose();
      encodes.push(performance.now() - start);
    }
    console.log(`  encode ${length} tokens      ${range(encodes)}`);
    const memory = await engine.encode(ids);
    for (const rows of [1, 4]) {
      const decoder = await engine.decoder(memory, rows, STEPS);
      const steps = await timed(decoder);
      decoder.dispose();
      const floor = (engine.info.stepWeightBytes / bandwidth) * 1000;
      const ratio = (Math.min(...steps) / floor).toFixed(1);
      console.log(
        `  step of ${rows} row${rows > 1 ? 's' : ' '}         ${range(steps)}, best is ${ratio} x the floor of ${floor.toFixed(2)} ms`,
      );
    }
    memory.dispose();
  }
  await engine.dispose();
}

/** Milliseconds of each of `STEPS` greedy steps. */
async function timed(decoder: Decoder): Promise<number[]> {
  const times: number[] = [];
  let tokens = new Int32Array(decoder.rows);
  for (let i = 0; i < STEPS; i++) {
    const start = performance.now();
    const { ids } = await decoder.step(tokens, 1, { kind: 'argmax' });
    times.push(performance.now() - start);
    tokens = Int32Array.from(ids);
  }
  return times;
}

function open(file: WeightFile): Promise<Engine> {
  return createOnnxEngine({ provider: 'cpu', file, config: file.config });
}

/** Bytes per second of one thread that reads memory far larger than the caches. */
function readBandwidth(): number {
  const bytes = 256 * 1024 * 1024;
  const [a, b] = [Buffer.alloc(bytes, 7), Buffer.alloc(bytes, 7)];
  const times = Array.from({ length: 5 }, () => {
    const start = performance.now();
    if (!a.equals(b)) throw new Error('The memory is broken.');
    return performance.now() - start;
  });
  return (2 * bytes) / (Math.min(...times) / 1000);
}

function range(times: readonly number[]): string {
  const sorted = [...times].sort((x, y) => x - y);
  const at = (share: number) => (sorted[Math.floor((sorted.length - 1) * share)] ?? 0).toFixed(2);
  return `${at(0)} ms at best, ${at(0.5)} in the middle`;
}

main().catch((error: unknown) => {
  console.error(error);
  process.exitCode = 1;
});
