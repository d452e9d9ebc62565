/** Pulls of a real server: they outlive their clients, are found again, cancelled, excluded from each other, and leave no token. */
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { Method, type ModelInfo, type PullInfo, type RepositoryInfo, type Verified } from '../../server/protocol';
import { HubStandIn } from '../support/hub';
import { ProxyStandIn } from '../support/proxy';
import { type Client, Home, STARTER, until } from './harness';

const fixture = resolve('test/fixtures/checkpoints/silu-uneven');
let home: Home;
let hub: HubStandIn;

beforeEach(async () => {
  home = Home.create();
  hub = await HubStandIn.start();
  hub.add('google/tiny', fixture);
});

afterEach(async () => {
  hold(false);
  await hub.close();
  await home.cleanup();
});

/** While held, the hub sends the headers, then a part of the second shard, and then nothing more. */
function hold(held: boolean): void {
  hub.fault = ({ kind, path, to }) => {
    const shard = kind === 'data' && path.includes('00002-of') && to > 128 * 1024;
    return held && shard ? { kind: 'stall', after: 1000 } : undefined;
  };
}

function watch(client: Client): PullInfo[] {
  const seen: PullInfo[] = [];
  client.rpc.onNotification(Method.pullChanged, (pull: PullInfo) => void seen.push(pull));
  return seen;
}

const start = (client: Client, more: object = {}) =>
  client.request<PullInfo>(Method.pull, { model: 'google/tiny', hubUrl: hub.url, ...more });
const pulls = (client: Client) => client.request<PullInfo[]>(Method.pulls);

async function ended(client: Client, name = 'tiny'): Promise<PullInfo> {
  let last: PullInfo | undefined;
  const over = await until(async () => {
    last = (await pulls(client)).find((pull) => pull.name === name);
    return last !== undefined && /done|failed|cancelled/.test(last.state);
  }, 60_000);
  if (!over || last === undefined) throw new Error(`${name} did not end: ${JSON.stringify(last)}`);
  return last;
}

it('installs a model, tells every client, and then lists, verifies and removes it', async () => {
  const [first, second] = [await home.client(), await home.client()];
  const seen = watch(second);
  const looked = await first.request<RepositoryInfo>(Method.repository, { model: 'google/tiny', hubUrl: hub.url });
  expect(looked).toMatchObject({ name: 'tiny', weights: 'safetensors', gated: false });
  expect(await start(first)).toMatchObject({
    name: 'tiny',
    model: 'google/tiny',
    revision: 'main',
    state: 'preparing',
  });
  const done = await ended(first);
  expect(done).toMatchObject({ state: 'done', dir: join(home.paths.models, 'tiny') });
  expect(await until(() => seen.at(-1)?.state === 'done')).toBe(true);
  expect(seen.some(({ state, totalBytes }) => state === 'downloading' && totalBytes > 300_000)).toBe(true);
  const models = await first.request<ModelInfo[]>(Method.models);
  expect(models[0]).toMatchObject({ name: 'tiny', form: 'pre-quantized', origin: 'google/tiny@main' });
  expect(await first.request<Verified>(Method.verify, { model: 'google/tiny' })).toMatchObject({
    name: 'tiny',
    ok: true,
  });
  writeFileSync(join(home.paths.models, 'tiny', 'config.json'), '{}');
  const verified = await first.request<Verified>(Method.verify, { model: 'tiny' });
  expect(verified.ok).toBe(false);
  expect(verified.files.filter(({ problem }) => problem !== undefined).map(({ path }) => path)).toEqual([
    'config.json',
  ]);
  expect(await first.request(Method.remove, { model: 'tiny' })).toMatchObject({ name: 'tiny' });
  expect(readdirSync(home.paths.models)).toEqual(['.pulls']);
  await expect(first.request(Method.remove, { model: STARTER })).rejects.toMatchObject({
    data: { code: 'not-installed' },
  });
});

it('goes on when its client leaves, is found again, is stopped, and goes on from there', async () => {
  hold(true);
  const first = await home.client(0);
  await start(first);
  expect(await until(async () => (await pulls(first))[0]?.state === 'downloading')).toBe(true);
  const pid = home.pid;
  first.close();
  // The server would leave at once, with nobody there.
  const second = await home.client();
  expect(home.pid).toBe(pid);
  const [found] = await pulls(second);
  expect(found).toMatchObject({ name: 'tiny', state: 'downloading' });
  // The same one again is found, another one under its name refused.
  expect(await start(second)).toMatchObject({ name: 'tiny', state: 'downloading' });
  hub.add('other/tiny', fixture);
  await expect(start(second, { model: 'other/tiny' })).rejects.toMatchObject({ data: { code: 'model-exists' } });
  expect(await second.request(Method.cancelPull, { name: 'tiny' })).toMatchObject({ state: 'cancelled' });
  expect(existsSync(join(home.paths.models, 'tiny'))).toBe(false);
  const served = hub.servedBytes;
  hold(false);
  await start(second);
  expect(await ended(second)).toMatchObject({ state: 'done' });
  expect(hub.servedBytes).toBeGreaterThan(served);
});

it('is there as paused for the next server, and can be thrown away', async () => {
  hold(true);
  const first = await home.client();
  await start(first);
  expect(await until(async () => ((await pulls(first))[0]?.bytes ?? 0) > 100_000)).toBe(true);
  await first.request(Method.stop);
  expect(await until(() => first.closed)).toBe(true);
  const listed = await home.flan(['models']);
  expect(listed.stderr).toMatch(/^Not finished: tiny, \d+ kB of \d+ kB; flan pull google\/tiny goes on\.$/m);
  const second = await home.client();
  expect(await pulls(second)).toMatchObject([
    { name: 'tiny', model: 'google/tiny', revision: 'main', state: 'paused' },
  ]);
  await second.request(Method.cancelPull, { name: 'tiny', discard: true });
  expect(await pulls(second)).toEqual([]);
  expect(readdirSync(join(home.paths.models, '.pulls'))).toEqual([]);
  await expect(second.request(Method.cancelPull, { name: 'tiny' })).rejects.toMatchObject({
    data: { code: 'no-pull' },
  });
});

it('a pull of the command line waits for it, and takes what it made', async () => {
  hold(true);
  const client = await home.client();
  await start(client);
  expect(await until(async () => (await pulls(client))[0]?.state === 'downloading')).toBe(true);
  const env = { HF_ENDPOINT: hub.url };
  expect(await home.flan(['rm', 'tiny'], { env })).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/installed at this moment/),
  });
  const child = home.flan(['pull', 'google/tiny', '--json'], { env });
  const requests = hub.requests.length;
  hold(false);
  await client.request(Method.cancelPull, { name: 'tiny' });
  await start(client);
  const ran = await child;
  expect(ran).toMatchObject({ code: 0, stderr: '' });
  expect(await ended(client)).toMatchObject({ state: 'done' });
  expect(JSON.parse(ran.stdout)).toMatchObject({ name: 'tiny', dir: join(home.paths.models, 'tiny') });
  expect(hub.requests.length).toBeGreaterThan(requests);
});

it('shows how far a pull of the command line is, waits for it, and does not stop it', async () => {
  hold(true);
  const client = await home.client();
  const child = home.flan(['pull', 'google/tiny', '--json'], { env: { HF_ENDPOINT: hub.url } });
  const waiting = async () => (await pulls(client)).find(({ state, bytes }) => state === 'waiting' && bytes > 100_000);
  expect(await until(async () => (await waiting()) !== undefined)).toBe(true);
  expect(await waiting()).toMatchObject({
    name: 'tiny',
    model: 'google/tiny',
    message: expect.stringMatching(/^Process \d+ pulls it$/),
  });
  await expect(client.request(Method.cancelPull, { name: 'tiny' })).rejects.toMatchObject({
    data: { code: 'pull-runs' },
  });
  const seen = watch(client);
  await start(client);
  expect(await until(() => seen.some(({ state, bytes }) => state === 'waiting' && bytes > 100_000))).toBe(true);
  // Who only waits can stop waiting: that stops nothing else.
  await client.request(Method.cancelPull, { name: 'tiny' });
  expect(seen.at(-1)).toMatchObject({ state: 'cancelled' });
  await start(client);
  hold(false);
  // What the hub holds back ends when the line is given up: everything goes on at once then.
  hub.cut();
  expect(await child).toMatchObject({ code: 0, stderr: '' });
  expect(await ended(client)).toMatchObject({ state: 'done', notes: ['google/tiny is installed already.'] });
});

it('a known model is pulled by its name alone, and a folder that is no model leaves nothing behind', async () => {
  hub.add('google/flan-t5-small', fixture, { revisions: ['refs/pr/1'] });
  const env = { HF_ENDPOINT: hub.url };
  expect(await home.flan(['pull', 'flan-t5-small@refs/pr/1', '--json'], { env })).toMatchObject({ code: 0 });
  const models = JSON.parse((await home.flan(['models', '--json'])).stdout) as ModelInfo[];
  expect(models[0]).toMatchObject({ name: 'flan-t5-small', origin: 'google/flan-t5-small@refs/pr/1' });
  expect(await home.flan(['pull', home.paths.home])).toMatchObject({
    code: 1,
    stderr: expect.stringMatching(/config\.json/),
  });
  expect(readdirSync(join(home.paths.models, '.pulls'))).toEqual([]);
});

it('goes through the proxy that a client names, and says so when it is not there', async () => {
  const proxy = await ProxyStandIn.start();
  try {
    const client = await home.client();
    const through = { proxy: proxy.url, noProxy: 'example.org' };
    const choice = { model: 'google/tiny', hubUrl: hub.url, ...through };
    expect(await client.request<RepositoryInfo>(Method.repository, choice)).toMatchObject({ name: 'tiny' });
    const looked = proxy.tunnels.length;
    expect(looked).toBeGreaterThan(0);
    await start(client, through);
    expect(await ended(client)).toMatchObject({ state: 'done' });
    expect(proxy.tunnels.length).toBeGreaterThan(looked);
    expect(new Set(proxy.tunnels)).toEqual(new Set([new URL(hub.url).host]));
    await proxy.close();
    const refused = client.request(Method.repository, { ...choice, model: 'google/other' });
    await expect(refused).rejects.toMatchObject({
      message: expect.stringMatching(/Check the connection and the proxy/),
    });
  } finally {
    await proxy.close().catch(() => {});
  }
});

it('uses a token and keeps it to itself', async () => {
  hub.add('me/private', fixture, { token: 'hf_very_secret' });
  const client = await home.client();
  await start(client, { model: 'me/private' });
  expect(await ended(client, 'private')).toMatchObject({
    state: 'failed',
    error: { code: 'hub-token', saying: { text: expect.stringMatching(/^\{0\} is private/), args: ['me/private'] } },
  });
  await start(client, { model: 'me/private', accessToken: 'hf_not_right' });
  expect(await ended(client, 'private')).toMatchObject({ state: 'failed', error: { code: 'hub-token' } });
  await start(client, { model: 'me/private', accessToken: 'hf_very_secret' });
  const done = await ended(client, 'private');
  expect(done.state).toBe('done');
  expect(JSON.stringify(await pulls(client))).not.toMatch(/hf_/);
  for (const entry of readdirSync(home.paths.home, { recursive: true, withFileTypes: true })) {
    const content = entry.isFile() ? readFileSync(join(entry.parentPath, entry.name), 'latin1') : '';
    expect(content.match(/hf_very_secret|hf_not_right/), entry.name).toBeNull();
  }
  await expect(start(client, { model: 'a b c' })).rejects.toMatchObject({ data: { code: 'usage' } });
});
