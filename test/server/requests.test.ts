/** What clients ask of the model: progress, cancelling, fairness, and the same answer whichever front end asks. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import {
  type AvailableModel,
  type DoctorItem,
  Method,
  type Progress,
  type RunParams,
  type ScoreResult,
  type Status,
} from '../../server/protocol';
import { type Client, Home, until } from './harness';

const CODE = `def mean(values):
    total = 0
    for v in values:
        total += v
    return total / len(values)
`;
const explain: RunParams = { task: 'explain', text: CODE, languageId: 'python', model: 'starter', engine: 'cpu' };
/** Sampling at this temperature hardly ever ends by itself: an answer that lasts until it is cancelled. */
const endless: RunParams = {
  task: 'generate',
  text: 'Write about everything.',
  model: 'starter',
  engine: 'cpu',
  maxNewTokens: 4096,
  temperature: 50,
  seed: 7,
};

let home: Home;
let client: Client;
beforeAll(async () => {
  home = Home.create();
  client = await home.client();
});
afterAll(() => home.cleanup());

const textOf = (progress: readonly Progress[]) =>
  progress
    .filter((p) => p.kind === 'text')
    .map((p) => p.append)
    .join('');

describe('a request', () => {
  it('loads, encodes and writes, in this order, and its pieces are its text', async () => {
    const progress: Progress[] = [];
    const result = await client.run(explain, (p) => progress.push(p));
    const kinds = progress.map((p) => p.kind).filter((kind, at, all) => kind !== all[at - 1]);
    expect(kinds).toEqual(['loading', 'encoding', 'text']);
    expect(textOf(progress)).toBe(result.text);
    expect(result.text.length).toBeGreaterThan(10);
    expect(result.finishReason).toBe('stop');
    expect(result.ids.at(-1)).toBe(1);
    expect(result.timings.loadMs).toBeGreaterThan(0);
    expect(result).toMatchObject({ model: 'starter', demo: true, engine: 'cpu', weights: 'int8' });
    expect(result.read).toMatchObject({ complete: true, fromLine: 1, toLine: 5 });

    const again = await client.run(explain);
    expect(again.ids).toEqual(result.ids);
    expect(again.timings.loadMs).toBe(0);
  });

  it('gets the same answer from the command line', async () => {
    const result = await client.run(explain);
    const ran = await home.flan(['explain', '-', '--json', '--model', 'starter', '--engine', 'cpu'], { input: CODE });
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    // Standard input has no name to tell a language by, so it is asked for in the same words.
    const plain = await client.run({ ...explain, languageId: 'plaintext' });
    expect(JSON.parse(ran.stdout).ids).toEqual(plain.ids);
    expect(JSON.parse(ran.stdout).text).toBe(plain.text);
    expect(result.text).not.toBe('');
    expect((await client.status()).pid).toBe(home.pid);
  });

  it('scores an answer: the sum is the sum of the tokens', async () => {
    const params = { prompt: 'Summarize: a b c', answer: 'a b', model: 'starter', engine: 'cpu' };
    const scored = await client.request<ScoreResult>(Method.score, params);
    const sum = scored.tokens.reduce((total, token) => total + token.logprob, 0);
    expect(scored.logprob).toBeLessThan(0);
    expect(Math.abs(scored.logprob - sum)).toBeLessThan(1e-4);
    expect(scored.tokens.map((token) => token.id)).toEqual(scored.ids);
    expect(scored.ids.at(-1)).toBe(1);
  });

  it('is refused by name when the model is unknown or the text is empty, and the server goes on', async () => {
    await expect(client.run({ ...explain, model: 'gpt' })).rejects.toMatchObject({ data: { code: 'unknown-model' } });
    await expect(client.run({ ...explain, text: ' \n ' })).rejects.toMatchObject({ data: { code: 'empty-input' } });
    expect((await client.run(explain)).finishReason).toBe('stop');
  });
});

describe('cancelling', () => {
  it('ends a running answer within a token, with the text so far', async () => {
    const source = new CancellationTokenSource();
    const progress: Progress[] = [];
    let cancelledAt = 0;
    const result = await client.run(
      endless,
      (p) => {
        progress.push(p);
        if (cancelledAt === 0 && textOf(progress).length > 40) {
          cancelledAt = performance.now();
          source.cancel();
        }
      },
      source.token,
    );
    const took = performance.now() - cancelledAt;
    expect(result.finishReason).toBe('cancelled');
    expect(result.text).toBe(textOf(progress));
    expect(result.ids.length).toBeGreaterThan(3);
    expect(result.ids.length).toBeLessThan(400);
    // A step takes some milliseconds; the rest is a busy test machine.
    expect(took).toBeLessThan(2000);
    const next = performance.now();
    await client.run(explain);
    expect(performance.now() - next).toBeLessThan(5000);
  });

  it('takes a waiting request out of the line at once', async () => {
    const running = new CancellationTokenSource();
    const waiting = new CancellationTokenSource();
    const seen: Progress[] = [];
    const first = client.run(endless, () => {}, running.token);
    const second = client.run(explain, (p) => seen.push(p), waiting.token);
    expect(await until(() => seen.some((p) => p.kind === 'queued' && p.ahead === 1))).toBe(true);
    waiting.cancel();
    expect(await second).toMatchObject({ finishReason: 'cancelled', text: '', ids: [] });
    expect((await client.status()).state).toBe('busy');
    running.cancel();
    expect((await first).finishReason).toBe('cancelled');
  });

  it('frees the model when the client that asked goes away', async () => {
    const leaving = await home.client();
    const seen: Progress[] = [];
    const lost = leaving.run(endless, (p) => seen.push(p)).catch((error: Error) => error.message);
    expect(await until(() => seen.some((p) => p.kind === 'text'))).toBe(true);
    const busy: Status = await client.status();
    expect(busy.state).toBe('busy');
    leaving.close();
    expect(await lost).toBe('connection closed');
    expect(await until(async () => (await client.status()).state === 'ready')).toBe(true);
  });
});

describe('several clients', () => {
  it('take turns: one that asks much does not keep another waiting for all of it', async () => {
    const other = await home.client();
    const order: string[] = [];
    const hold = new CancellationTokenSource();
    const first = client.run(endless, () => {}, hold.token);
    expect(await until(async () => (await client.status()).state === 'busy')).toBe(true);
    const many = Array.from({ length: 4 }, (_, i) => client.run(explain).then(() => order.push(`many ${i}`)));
    expect(await until(async () => (await client.status()).queued === 4)).toBe(true);
    const seen: Progress[] = [];
    const one = other.run(explain, (p) => seen.push(p)).then(() => order.push('one'));
    expect(await until(() => seen.some((p) => p.kind === 'queued'))).toBe(true);
    expect(seen[0]).toEqual({ kind: 'queued', ahead: 2 });
    hold.cancel();
    await Promise.all([first, ...many, one]);
    expect(order.indexOf('one')).toBe(1);
    expect(order.filter((name) => name !== 'one')).toEqual(['many 0', 'many 1', 'many 2', 'many 3']);
  });

  it('are all told when the state changes', async () => {
    const other = await home.client();
    const from = other.statuses.length;
    await client.run(explain);
    expect(await until(() => other.statuses.slice(from).some((status) => status.state === 'busy'))).toBe(true);
    expect(await until(() => other.statuses.at(-1)?.state === 'ready')).toBe(true);
    expect(other.statuses.at(-1)).toMatchObject({ model: 'starter', engine: 'cpu', demo: true });
  });

  it('get the answer to their own question, each', async () => {
    const clients = await Promise.all([home.client(), home.client(), home.client()]);
    const prompts = ['one two three', 'red green blue', 'north south west'];
    const run = (text: string, from: Client) =>
      from.run({ task: 'generate', text, model: 'starter', engine: 'cpu', maxNewTokens: 24 });
    const expected: (readonly number[])[] = [];
    for (const prompt of prompts) expected.push((await run(prompt, client)).ids);
    const mixed = await Promise.all(
      clients.flatMap((c, i) => [run(prompts[i] ?? '', c), run(prompts[(i + 1) % 3] ?? '', c)]),
    );
    expect(mixed.map((result) => result.ids)).toEqual(clients.flatMap((_, i) => [expected[i], expected[(i + 1) % 3]]));
  });
});

describe('models', () => {
  it('are listed while the model thread is busy', async () => {
    const hold = new CancellationTokenSource();
    const running = client.run(endless, () => {}, hold.token);
    expect(await until(async () => (await client.status()).state === 'busy')).toBe(true);
    const start = performance.now();
    const models = await client.request<{ name: string; demo: boolean }[]>(Method.models);
    expect(models).toContainEqual(expect.objectContaining({ name: 'starter', demo: true }));
    expect(performance.now() - start).toBeLessThan(2000);
    hold.cancel();
    await running;
  });

  it('stay loaded when a request names a folder that holds none', async () => {
    await client.run(explain);
    const params = { ...explain, model: home.paths.home };
    await expect(client.run(params)).rejects.toMatchObject({ data: { code: 'not-a-model' } });
    expect(await client.status()).toMatchObject({ state: 'ready', model: 'starter' });
    expect((await client.run(explain)).timings.loadMs).toBe(0);
  });

  it('are known to the list of what could be installed', async () => {
    await client.run({ ...explain, engine: 'cpu' });
    const models = await client.request<AvailableModel[]>(Method.available);
    const cpu = models[0]?.engines.find(({ engine }) => engine === 'cpu');
    expect(cpu?.freeBytes).toBeGreaterThan(0);
    expect(models.every(({ installed }) => !installed)).toBe(true);
  });

  it('stay loaded when a request names an engine that is not here', async (context) => {
    const items = await client.request<DoctorItem[]>(Method.doctor);
    const missing = (['cuda', 'webgpu'] as const).find((name) => items.some(({ what, ok }) => what === name && !ok));
    if (missing === undefined) return context.skip('every engine works on this machine');
    await client.run(explain);
    await expect(client.run({ ...explain, engine: missing })).rejects.toMatchObject({ code: -32803 });
    expect((await client.run(explain)).timings.loadMs).toBe(0);
  });

  it('switch by what a request asks for: fp32 is loaded, then int8 again', async () => {
    const fp32 = await client.run({ ...explain, weights: 'fp32' });
    expect(fp32).toMatchObject({ weights: 'fp32', engine: 'cpu' });
    expect(fp32.timings.loadMs).toBeGreaterThan(0);
    const int8 = await client.run(explain);
    expect(int8.weights).toBe('int8');
    // It stayed in memory beside the other, where free memory can be told.
    const stayed = process.platform !== 'darwin';
    expect(int8.timings.loadMs === 0).toBe(stayed);
    expect((await client.status()).beside?.length).toBe(stayed ? 1 : undefined);
  });
});
