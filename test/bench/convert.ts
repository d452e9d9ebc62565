/**
 * Speed of a conversion to int8, beside a plain copy of the same files and what its parts cost alone.
 *
 * node test/bench/run.mjs synthetic .cache/bench/ul2 --layers 2 && node test/bench/run.mjs convert .cache/bench/ul2
 *   --no-copy: without the copy, for a disk that has no room for it; --own-thread: without other threads.
 */
import { createHash, randomBytes } from 'node:crypto';
import { mkdirSync, readdirSync, rmSync, statSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { cpus, loadavg } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { buildSync } from 'esbuild';
import { convertCheckpoint } from '../../server/weights/convert';
import { type Portion, PortionQuantizer, placesOf } from '../../server/weights/quantize_portion';
import { wasmEngine } from '../../server/weights/wasm';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { 'no-copy': { type: 'boolean', default: false }, 'own-thread': { type: 'boolean', default: false } },
});
const out = join('.cache', 'bench', 'converted');

async function main(): Promise<void> {
  const [dir] = positionals;
  if (dir === undefined) throw new Error('Usage: convert DIR [--no-copy] [--own-thread]');
  console.log(`${cpus()[0]?.model ?? 'CPU'}, ${cpus().length} threads, load average ${loadavg()[0]?.toFixed(1)}`);
  const files = readdirSync(dir).filter((name) => /\.(safetensors|bin)$/.test(name));
  const bytes = files.reduce((sum, name) => sum + statSync(join(dir, name)).size, 0);
  rmSync(out, { recursive: true, force: true });
  mkdirSync(out, { recursive: true });
  parts();
  if (!values['no-copy']) {
    await timed('copy to the disk', bytes, async () => {
      for (const name of files) await copy(join(dir, name), join(out, name));
    });
    rmSync(out, { recursive: true, force: true });
  }
  const quantizerFile = join('.cache', 'bench', 'quantizer.cjs');
  buildSync({
    entryPoints: ['server/weights/quantize_thread.ts'],
    outfile: quantizerFile,
    bundle: true,
    platform: 'node',
  });
  let peak = 0;
  const onProgress = () => {
    peak = Math.max(peak, process.memoryUsage.rss());
  };
  const threads = values['own-thread'] ? {} : { quantizerFile: join(process.cwd(), quantizerFile) };
  await timed(`convert${values['own-thread'] ? ', own thread' : ''}`, bytes, async () => {
    await convertCheckpoint({ source: dir, out: join(out, 'w'), format: 'int8', onProgress, ...threads });
  });
  console.log(`peak memory of the process: ${(peak / 1e6).toFixed(0)} MB`);
  rmSync(out, { recursive: true, force: true });
}

/** Each with data in the caches: what no disk and no order of work can better. */
function parts(): void {
  const portion: Portion = { rows: 128, k: 4096, dtype: 'BF16', factor: 1 };
  const places = placesOf(portion);
  const pages = Math.ceil(places.bytes / 65536);
  const source = randomBytes(2 * portion.rows * portion.k);
  for (let i = 1; i < source.length; i += 2) source[i] = 0x3c + ((source[i] ?? 0) & 0x83);
  for (const kernels of [true, false]) {
    const memory = new wasmEngine.Memory({ initial: pages, maximum: pages, shared: true });
    new Uint8Array(memory.buffer, places.source).set(source);
    const quantizer = new PortionQuantizer(memory, kernels);
    const best = Math.min(...Array.from({ length: 30 }, () => seconds(() => quantizer.quantize(portion))));
    rate(`quantizing, ${kernels ? 'WebAssembly' : 'JavaScript'}, one thread`, source.length, best);
  }
  const half = source.subarray(0, source.length / 2);
  const hashing = Math.min(
    ...Array.from({ length: 30 }, () => seconds(() => createHash('sha256').update(half).digest())),
  );
  rate('SHA-256 of what is written', source.length, hashing);
}

function seconds(work: () => unknown): number {
  const start = performance.now();
  work();
  return (performance.now() - start) / 1000;
}

async function copy(from: string, to: string): Promise<void> {
  const [input, output] = [await open(from, 'r'), await open(to, 'w')];
  const buffer = new Uint8Array(1024 * 1024);
  for (;;) {
    const { bytesRead } = await input.read(buffer, 0, buffer.length);
    if (bytesRead === 0) break;
    await output.write(buffer, 0, bytesRead);
  }
  await output.sync();
  await input.close();
  await output.close();
}

async function timed(name: string, bytes: number, work: () => Promise<void>): Promise<void> {
  const cpu = process.cpuUsage();
  const start = performance.now();
  await work();
  const wall = (performance.now() - start) / 1000;
  const { user, system } = process.cpuUsage(cpu);
  rate(name, bytes, wall, ` (${(user / 1e6).toFixed(1)} s user and ${(system / 1e6).toFixed(1)} s system)`);
}

function rate(name: string, bytes: number, wall: number, more = ''): void {
  console.log(`${name.padEnd(40)} ${(bytes / 1e6 / wall).toFixed(0).padStart(6)} MB of input/s${more}`);
}

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
