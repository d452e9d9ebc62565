/** What is installed, converting, checking and measuring, on the command line. */
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AvailableModel, RunResult } from '../../server/protocol';
import { CHECKPOINT, enlarge, homeWithFiles, json } from './cli_home';
import { finished, type Home, STARTER, until } from './harness';

let home: Home;
beforeAll(() => {
  home = homeWithFiles();
});
afterAll(() => home.cleanup());

describe('models and machine', () => {
  it('lists models, and says what this machine can run', async () => {
    const models = json<{ name: string }[]>((await home.flan(['models', '--json'])).stdout);
    expect(models).toContainEqual(expect.objectContaining({ name: 'starter', demo: true, form: 'pre-quantized' }));
    expect((await home.flan(['models'])).stdout).toMatch(/^starter +26 M/m);
    const { items } = json<{ items: { what: string; ok: boolean; detail: string }[] }>(
      (await home.flan(['doctor', '--json'])).stdout,
    );
    expect(items.map(({ what }) => what)).toEqual(
      expect.arrayContaining(['cpu', 'webgpu', 'memory', 'disk', 'models', 'server']),
    );
    expect(items.find(({ what }) => what === 'cpu')).toMatchObject({ ok: true });
    for (const { detail } of items) expect(detail).not.toBe('');
    expect((await home.flan(['doctor'])).stdout).toMatch(/^ok {2}cpu/m);
  });

  it('lists what could be installed, with what each needs and whether it fits here', async () => {
    const known = json<AvailableModel[]>((await home.flan(['models', '--available', '--json'])).stdout);
    const ul2 = known.find(({ repository }) => repository === 'google/flan-ul2');
    expect(ul2).toMatchObject({ name: 'flan-ul2', installed: false, licence: 'Apache-2.0' });
    expect(ul2?.engines.map(({ engine }) => engine)).toContain('cpu');
    expect(known.filter(({ recommended }) => recommended).length).toBeLessThanOrEqual(1);
    const text = (await home.flan(['models', '--available'])).stdout;
    expect(text).toMatch(/^google\/flan-ul2\n {2}19\.5 B parameters, download 38\.9 GB, int8 19\.8 GB/m);
    expect(text).toMatch(/^ {2}bad: {2}Code/m);
  });

  it('says what a model folder holds and how exact it is', async () => {
    const report = json<{ form: string; worst: { relativeRms: number }[] }>(
      (await home.flan(['doctor', '--model', 'starter', '--json'])).stdout,
    );
    expect(report).toMatchObject({ name: 'starter', form: 'pre-quantized', demo: true });
    expect(report.worst.length).toBeGreaterThan(0);
    for (const { relativeRms } of report.worst) expect(relativeRms).toBeLessThan(0.02);
    expect((await home.flan(['doctor', '--model', 'starter'])).stdout).toMatch(/starter: pre-quantized/);
  });

  it('converts a folder into a model like any other', async () => {
    const out = join(home.paths.models, 'copy');
    const ran = await home.flan(['convert', STARTER, '--out', out, '--json']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(json<{ dir: string; bytes: number }>(ran.stdout)).toMatchObject({ dir: out });
    const models = json<{ name: string; demo: boolean }[]>((await home.flan(['models', '--json'])).stdout);
    expect(models.map(({ name }) => name)).toEqual(['copy', 'starter']);
    // An installed model goes before the built-in one.
    const answer = json<RunResult>((await home.flan(['generate', '--prompt', 'Hello', '--json'])).stdout);
    expect(answer).toMatchObject({ model: 'copy', demo: false });
    const starter = json<RunResult>(
      (await home.flan(['generate', '--prompt', 'Hello', '--json', '--model', 'starter'])).stdout,
    );
    expect(starter).toMatchObject({ model: 'starter', demo: true, ids: answer.ids });
  });

  it('converts an original checkpoint, and says what it holds before and after', async () => {
    const before = json<{ form: string }>((await home.flan(['doctor', '--model', CHECKPOINT, '--json'])).stdout);
    expect(before.form).toBe('original');
    const out = join(home.paths.home, 'converted');
    const ran = await home.flan(['convert', CHECKPOINT, '--out', out]);
    expect(ran).toMatchObject({ code: 0, stdout: `${out}\n` });
    expect(ran.stderr).toMatch(/has no tokenizer \(tokenizer\.json/);
    const after = await home.flan(['doctor', '--model', out]);
    expect(after.stdout).toMatch(/pre-quantized/);
    expect(after.stdout).toMatch(/SHA-256 is right/);
    const refused = await home.flan(['convert', CHECKPOINT, '--out', home.paths.home]);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/^flan: [^\n]+ is left as it is[^\n]+\n$/);
    expect((await home.flan(['explain', 'add.py', '--model', out])).stderr).toMatch(/tokenizer\.json/);
  });

  it.skipIf(process.platform === 'win32')('leaves nothing half made when a conversion is interrupted', async () => {
    // Large enough to be caught in the middle: two matrices of 48 MB each.
    const big = join(home.paths.home, 'big');
    enlarge(CHECKPOINT, big, 500_000);
    const out = join(home.paths.home, 'big-int8');
    const child = home.start(['convert', 'big', '--out', out]);
    const done = finished(child);
    expect(await until(() => readdirSync(home.paths.home).some((name) => name.startsWith('big-int8.')))).toBe(true);
    child.kill('SIGINT');
    const ran = await done;
    expect(ran).toMatchObject({ code: 1, stdout: '', stderr: 'flan: Stopped.\n' });
    expect(readdirSync(home.paths.home).filter((name) => name.startsWith('big-int8'))).toEqual([]);
  });

  it('loads a model anew when its folder was replaced', async () => {
    const out = join(home.paths.models, 'replaced');
    const loadMs = async () => {
      const ran = await home.flan(['generate', '--prompt', 'Hello', '--json', '--model', 'replaced']);
      return json<RunResult>(ran.stdout).timings.loadMs;
    };
    await home.flan(['convert', STARTER, '--out', out]);
    expect(await loadMs()).toBeGreaterThan(0);
    expect(await loadMs()).toBe(0);
    await home.flan(['convert', STARTER, '--out', out]);
    expect(await loadMs()).toBeGreaterThan(0);
    rmSync(out, { recursive: true });
  });

  it('does not list a broken folder, and says why when it is named', async () => {
    const broken = join(home.paths.models, 'broken');
    mkdirSync(broken, { recursive: true });
    writeFileSync(join(broken, 'config.json'), '{ "model_type": "bert" }');
    const ran = await home.flan(['models']);
    expect(ran.code).toBe(0);
    expect(ran.stdout).not.toContain('broken');
    expect(ran.stderr).toMatch(/Not listed: .*broken: .*bert/);
    const asked = await home.flan(['explain', 'add.py', '--model', 'broken']);
    expect(asked).toMatchObject({ code: 1, stdout: '' });
    expect(asked.stderr).toMatch(/^flan: [^\n]*bert[^\n]*\n$/);
  });

  it('is refused a damaged model', async () => {
    const damaged = join(home.paths.home, 'damaged');
    await home.flan(['convert', STARTER, '--out', damaged]);
    const file = join(damaged, 'model.int8.safetensors');
    const bytes = readFileSync(file);
    bytes[bytes.length - 1000] = (bytes[bytes.length - 1000] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    for (const args of [
      ['doctor', '--model', damaged],
      ['explain', 'add.py', '--model', damaged],
    ]) {
      const ran = await home.flan(args);
      expect(ran).toMatchObject({ code: 1, stdout: '' });
      expect(ran.stderr).toMatch(/^flan: [^\n]*damaged[^\n]*\n$/);
    }
  });

  it('measures itself', async () => {
    const ran = await home.flan([
      'bench',
      '--model',
      'starter',
      '--engine',
      'cpu',
      '--source-tokens',
      '16',
      '--new-tokens',
      '4',
      '--json',
    ]);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    const report = json<{ runs: Record<string, number | string>[]; copyBytesPerSecond: number }>(ran.stdout);
    expect(report.runs.map((run) => run['weights'])).toEqual(['int8', 'fp32']);
    expect(report.copyBytesPerSecond).toBeGreaterThan(1e8);
    for (const run of report.runs) {
      for (const field of ['loadMs', 'encodeMs', 'msPerToken', 'floorMs', 'timesFloor'])
        expect(run[field]).toBeGreaterThan(0);
    }
  });
});
