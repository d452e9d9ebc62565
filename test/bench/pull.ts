/**
 * A pull of a synthetic Flan-UL2 from a hub on this machine, by the built command line: time, processor time, peak of memory
 * and disk, beside a plain download of the same files. The hub makes the files while it sends them, on the same cores.
 *
 * npm run build && node test/bench/run.mjs pull [--layers N] [--shards N | --safetensors]
 *   --kill: ends it with SIGKILL in the middle, once, and goes on; --plain GB: how much is downloaded plainly (0: nothing);
 *   --home DIR, --keep: where it is installed, and that it stays; --cli FILE: another build.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { lstatSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { get } from 'node:http';
import { cpus, loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { INT8_FILE } from '../../server/weights/checkpoint';
import { inspectWeightFile } from '../../server/weights/file';
import { FLAN_UL2 } from '../fixtures/family';
import { HubStandIn } from '../support/hub';
import { syntheticFiles } from './synthetic_files';

const { values } = parseArgs({
  options: {
    layers: { type: 'string', default: '2' },
    shards: { type: 'string', default: '8' },
    safetensors: { type: 'boolean', default: false },
    kill: { type: 'boolean', default: false },
    plain: { type: 'string', default: '4' },
    home: { type: 'string', default: join('.cache', 'bench', 'pull') },
    keep: { type: 'boolean', default: false },
    cli: { type: 'string', default: join('dist', 'cli.js') },
  },
});

const REPOSITORY = 'google/flan-ul2';
const home = resolve(values.home);

async function main(): Promise<void> {
  console.log(`${cpus()[0]?.model ?? 'CPU'}, ${cpus().length} threads, load average ${loadavg()[0]?.toFixed(1)}`);
  const layers = Number(values.layers);
  const files = syntheticFiles({ layers, ...(values.safetensors ? {} : { shards: Number(values.shards) }) });
  const hub = await HubStandIn.start();
  hub.add(REPOSITORY, Object.fromEntries(files));
  const total = [...files.values()].reduce((sum, { bytes }) => sum + bytes, 0);
  console.log(`${layers} and ${layers} of ${FLAN_UL2.encoderLayers} layers, ${files.size} files, ${gigabytes(total)}`);
  rmSync(home, { recursive: true, force: true });
  mkdirSync(home, { recursive: true });
  try {
    const plain = await plainDownload(hub, files, Number(values.plain) * 1e9);
    await pull(hub, total, plain);
  } finally {
    await hub.close();
    if (!values.keep) rmSync(home, { recursive: true, force: true });
  }
}

/** Bytes a second that arrive on the disk when nothing is done with the first `most` of them; 0 when none are asked for. */
async function plainDownload(
  hub: HubStandIn,
  files: ReadonlyMap<string, { readonly bytes: number }>,
  most: number,
): Promise<number> {
  let bytes = 0;
  const start = performance.now();
  for (const [name, file] of files) {
    const wanted = Math.min(file.bytes, most - bytes);
    if (wanted <= 0) break;
    const path = join(home, 'plain');
    const url = `${hub.url}/cdn/${REPOSITORY}/${name}`;
    const output = await open(path, 'w');
    const answer = await new Promise<AsyncIterable<Buffer>>((resolved, rejected) =>
      get(url, { headers: { range: `bytes=0-${wanted - 1}` } }, resolved).on('error', rejected),
    );
    for await (const chunk of answer) await output.write(chunk);
    await output.sync();
    await output.close();
    rmSync(path);
    bytes += wanted;
  }
  const seconds = (performance.now() - start) / 1000;
  if (bytes < 1e8) return 0;
  console.log(
    `plain download   ${gigabytes(bytes)} in ${seconds.toFixed(1)} s, ${rate(bytes, seconds)}, one connection`,
  );
  return bytes / seconds;
}

async function pull(hub: HubStandIn, total: number, plain: number): Promise<void> {
  const peaks = { disk: 0, memory: 0 };
  const sum = { seconds: 0, user: 0 };
  const before = hub.servedBytes;
  for (let part = 1; ; part++) {
    const start = performance.now();
    const child = flan(hub.url, ['pull', REPOSITORY]);
    const killAt = values.kill && part === 1 ? before + total / 2 : Number.POSITIVE_INFINITY;
    let killed = false;
    hub.onServed = (served) => {
      if (killed || served < killAt) return;
      killed = true;
      child.kill('SIGKILL');
    };
    let user = 0;
    const watch = setInterval(() => {
      peaks.disk = Math.max(peaks.disk, allocated(home));
      const state = stateOf(child);
      peaks.memory = Math.max(peaks.memory, state.memory);
      user = Math.max(user, state.user);
    }, 250);
    const code = await new Promise<number | null>((resolved) => child.on('exit', resolved));
    clearInterval(watch);
    const seconds = (performance.now() - start) / 1000;
    sum.seconds += seconds;
    sum.user += user;
    if (killed) {
      console.log(
        `killed after     ${seconds.toFixed(1)} s, ${gigabytes(hub.servedBytes - before)} were sent until then`,
      );
      continue;
    }
    if (code !== 0) throw new Error(`flan pull ended with ${code}`);
    break;
  }
  const speed = total / sum.seconds;
  const beside = plain > 0 ? `, ${(speed / plain).toFixed(2)} of the plain download` : '';
  console.log(
    `pull             ${gigabytes(total)} in ${sum.seconds.toFixed(1)} s, ${rate(total, sum.seconds)}${beside}`,
  );
  const cpu = `${sum.user.toFixed(1)} s of processor time, ${rate(total, sum.user)} of it`;
  console.log(`processor        ${cpu}`);
  console.log(
    `sent by the hub  ${gigabytes(hub.servedBytes - before)}: ${megabytes(hub.servedBytes - before - total)} more`,
  );
  console.log(`peak memory      ${megabytes(peaks.memory)}`);
  const installed = lstatSync(join(home, 'models', 'flan-ul2', INT8_FILE)).size;
  console.log(`peak disk        ${gigabytes(peaks.disk)}; the int8 file has ${gigabytes(installed)}`);
  console.log(`sum of the data  ${await dataSum()}`);
}

function flan(hubUrl: string, args: readonly string[]): ChildProcess {
  const env = { ...process.env, FLAN_HOME: home, HF_ENDPOINT: hubUrl, HF_HOME: join(home, 'none') };
  return spawn(process.execPath, [values.cli, ...args], { env, stdio: ['ignore', 'ignore', 'ignore'] });
}

/** Peak of resident memory in bytes, and processor time in seconds; what is known of a process that runs. */
function stateOf({ pid }: ChildProcess): { readonly memory: number; readonly user: number } {
  try {
    const status = readFileSync(`/proc/${pid}/status`, 'utf8');
    const times = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? [];
    const memory = Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1] ?? 0) * 1024;
    // In hundredths of a second.
    return { memory, user: (Number(times[11] ?? 0) + Number(times[12] ?? 0)) / 100 };
  } catch {
    return { memory: 0, user: 0 };
  }
}

/** Bytes that a folder takes on the disk. */
function allocated(dir: string): number {
  let sum = 0;
  try {
    for (const entry of readdirSync(dir, { recursive: true, withFileTypes: true })) {
      if (entry.isFile()) sum += lstatSync(join(entry.parentPath, entry.name)).blocks * 512;
    }
  } catch {
    // A file went away meanwhile; the next look counts again.
  }
  return sum;
}

/** The sum of the weights that their header tells: the same for the same weights, in whatever form they came. */
async function dataSum(): Promise<string> {
  return (await inspectWeightFile(join(home, 'models', 'flan-ul2', INT8_FILE))).sha256;
}

const gigabytes = (bytes: number) => `${(bytes / 1e9).toFixed(2)} GB`;
const megabytes = (bytes: number) => `${(bytes / 1e6).toFixed(0)} MB`;
const rate = (bytes: number, seconds: number) => `${(bytes / 1e6 / seconds).toFixed(0)} MB/s`;

main().catch((error: unknown) => {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
});
