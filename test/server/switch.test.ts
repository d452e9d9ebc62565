/** Several models in memory: a switch between them loads nothing, and a changed folder is loaded anew. */
import { appendFileSync, cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Method, type RunParams, type Status } from '../../server/protocol';
import { type Client, Home, STARTER } from './harness';

let home: Home;
let client: Client;
beforeAll(async () => {
  home = Home.create();
  cpSync(STARTER, join(home.paths.models, 'other'), { recursive: true });
  client = await home.client();
});
afterAll(() => home.cleanup());

const ask = (model: string): RunParams => ({
  task: 'generate',
  text: 'Say it.',
  model,
  engine: 'cpu',
  maxNewTokens: 4,
});
const loads = () => home.log.match(/loaded \w+ on/g)?.map((line) => line.split(' ')[1]);

describe.skipIf(process.platform === 'darwin')('several models (macOS does not tell its free memory)', () => {
  it('keeps a model in memory beside the one that is used, and goes back to it without loading', async () => {
    const first = await client.run(ask('starter'));
    expect(first.timings.loadMs).toBeGreaterThan(0);
    const other = await client.run(ask('other'));
    expect(other).toMatchObject({ model: 'other', ids: first.ids });
    const status = await client.status();
    expect(status).toMatchObject({ model: 'other', beside: [{ model: 'starter', device: other.device }] });
    const shown = await home.flan(['status']);
    expect(shown.stdout).toContain(`Also in memory: starter on ${other.device}.`);
    const again = await client.run(ask('starter'));
    expect(again).toMatchObject({ model: 'starter', ids: first.ids, timings: { loadMs: 0 } });
    expect(await client.request<Status>(Method.load, { ...ask('other') })).toMatchObject({ model: 'other' });
    expect(loads()).toEqual(['starter', 'other']);
  });

  it('loads a folder anew whose files changed, and keeps no earlier state of it', async () => {
    appendFileSync(join(home.paths.models, 'other', 'README.md'), '\nChanged.\n');
    expect((await client.run(ask('other'))).timings.loadMs).toBeGreaterThan(0);
    expect((await client.status()).beside?.map(({ model }) => model)).toEqual(['starter']);
    expect(loads()).toEqual(['starter', 'other', 'other']);
  });

  it('keeps what works when a folder turns out to be broken', async () => {
    writeFileSync(join(home.paths.models, 'other', 'config.json'), '{');
    await expect(client.run(ask('other'))).rejects.toMatchObject({ data: { code: expect.any(String) } });
    expect((await client.run(ask('starter'))).timings.loadMs).toBe(0);
  });
});
