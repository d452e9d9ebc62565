import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { build } from 'esbuild';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { convertFolder } from '../../../../server/weights/convert';
import { readJournal } from '../../../../server/weights/hub/journal';
import { HubStandIn } from '../../../support/hub';
import { asTorchFile } from '../../../support/torch_copy';
import { randomOf, writeCheckpoint } from '../support';

const KILLS = 100;

const folder = mkdtempSync(join(tmpdir(), 'flan-kill-'));
const script = join(folder, 'pull_child.cjs');
const FORMS = ['safetensors', 'bin'] as const;
type Form = (typeof FORMS)[number];
const sourceOf = (form: Form) => join(folder, form);
/** The weight file that a pull has to make. */
const expected = new Map<Form, Buffer>();

beforeAll(async () => {
  const source = sourceOf('safetensors');
  // Some 400 kB in two shards; no tensor is larger than the window.
  writeCheckpoint(source, { dtype: 'BF16', shards: 2, config: { vocab_size: 400, d_model: 80, num_layers: 3 } });
  writeFileSync(join(source, 'tokenizer.json'), JSON.stringify({ filler: 'x'.repeat(20_000) }));
  // The same as PyTorch files.
  mkdirSync(sourceOf('bin'));
  for (const name of readdirSync(source)) {
    const bytes = readFileSync(join(source, name));
    const copy = name.endsWith('.safetensors')
      ? asTorchFile([bytes], { turned: false })
      : name.endsWith('.index.json')
        ? bytes.toString().replace(/model-(\d+-of-\d+)\.safetensors/g, 'pytorch_model-$1.bin')
        : bytes;
    const renamed = name.replace(/^model-(.*)\.safetensors$/, 'pytorch_model-$1.bin');
    writeFileSync(join(sourceOf('bin'), renamed.replace('model.safetensors.index', 'pytorch_model.bin.index')), copy);
  }
  for (const form of FORMS) {
    const converted = join(folder, `converted-${form}`);
    await convertFolder(sourceOf(form), converted);
    expected.set(form, readFileSync(join(converted, 'model.int8.safetensors')));
  }
  await build({
    entryPoints: [resolve('test/unit/weights/hub/pull_child.ts')],
    outfile: script,
    ...{ bundle: true, platform: 'node', format: 'cjs', target: 'node20', logLevel: 'error' },
  });
});

afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** When a process is to be killed. */
type Moment =
  /** Some time after so many bytes of files were sent to it. */
  | { readonly kind: 'served'; readonly bytes: number; readonly ms: number }
  /** Some time after it started, or after it has begun to read once more what it wrote. */
  | { readonly kind: 'started' | 'checking'; readonly ms: number };

function momentOf(random: () => number, total: number): Moment {
  const kind = random();
  if (kind < 0.7) return { kind: 'served', bytes: Math.floor(random() * 0.7 * total), ms: Math.floor(random() * 10) };
  if (kind < 0.85) return { kind: 'started', ms: Math.floor(random() * 400) };
  return { kind: 'checking', ms: Math.floor(random() * 15) };
}

/** Runs a pull and kills it at a moment; true when it came to its end before. */
async function run(hub: HubStandIn, models: string, moment: Moment): Promise<boolean> {
  const child = spawn(process.execPath, [script, hub.url, models], { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => void sleep(moment.ms).then(() => child.kill('SIGKILL'));
  const before = hub.servedBytes;
  let output = '';
  child.stdout.on('data', (text) => {
    if (moment.kind === 'checking' && !output.includes('checking') && String(text).includes('checking')) kill();
    output += text;
  });
  if (moment.kind === 'started') kill();
  hub.onServed = (bytes) => {
    if (moment.kind !== 'served' || bytes - before < moment.bytes) return;
    hub.onServed = () => {};
    kill();
  };
  const code = await new Promise<number | null>((done) => child.on('close', done));
  hub.onServed = () => {};
  expect(output).not.toContain('failed');
  return code === 0;
}

/** Pulls and kills until there were so many kills; each is followed by another pull. */
async function chain(form: Form, seed: number, kills: number) {
  const random = randomOf(seed);
  const source = sourceOf(form);
  const total = readdirSync(source).reduce((sum, name) => sum + statSync(join(source, name)).size, 0);
  const right = (file: string) => readFileSync(file).equals(expected.get(form) ?? Buffer.of());
  const models = join(folder, `models-${form}`);
  const hub = await HubStandIn.start();
  hub.add('google/tiny', source);
  // A line on which there is time to be killed: 8 kB a millisecond or two.
  hub.fault = ({ kind, path }) =>
    kind === 'data' && /\d\.(safetensors|bin)$/.test(path) ? { kind: 'drip', bytes: 8192, ms: 2 } : undefined;
  let killed = 0;
  let killedNow = 0;
  let installed = 0;
  let resumed = 0;
  const install = join(models, 'tiny', 'model.int8.safetensors');
  try {
    while (killed < kills || killedNow > 0) {
      const last = killed >= kills;
      const begun = await readJournal(join(models, '.pulls', 'tiny', 'journal'));
      const asked = hub.requests.length;
      const ended = await run(hub, models, last ? { kind: 'served', bytes: 1e9, ms: 0 } : momentOf(random, total));
      if (!ended) {
        killed++;
        killedNow++;
      }
      // Nothing that the journal tells of is fetched again, but for the headers: at the start of such a file.
      for (const { kind, path, from } of hub.requests.slice(asked)) {
        if (form === 'safetensors' && kind === 'data' && from > 0)
          expect(from).toBeGreaterThanOrEqual(begun?.shards.get(path)?.at ?? 0);
      }
      // Whenever there is something under its name, it is whole.
      if (existsSync(join(models, 'tiny'))) expect(right(install)).toBe(true);
      if (!ended) continue;
      if (begun) resumed++;
      expect(right(install)).toBe(true);
      expect(readdirSync(join(models, '.pulls'))).toEqual([]);
      installed++;
      rmSync(join(models, 'tiny'), { recursive: true });
      killedNow = 0;
    }
  } finally {
    await hub.close();
  }
  return { installed, resumed };
}

it(`kill -9 at ${KILLS} random moments of a pull: the next one goes on, and the file is always the same`, async () => {
  const seed = Date.now() % 100_000;
  console.log(`seed ${seed}`);
  const chains = await Promise.all(FORMS.map((form) => chain(form, seed, KILLS / FORMS.length)));
  for (const { installed, resumed } of chains) {
    expect(installed).toBeGreaterThan(0);
    expect(resumed).toBeGreaterThan(0);
  }
}, 600_000);
