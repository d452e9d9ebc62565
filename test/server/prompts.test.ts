/** Prompt sets on a real server: counting, one input, many inputs, checking; each beside the plain request it comes from. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { promptText } from '../../server/prompts/render';
import {
  type CheckReport,
  Method,
  type PromptCount,
  type PromptProgress,
  type PromptRunResult,
  type PromptSet,
  type RunManyResult,
  type ScoreResult,
} from '../../server/protocol';
import { type Client, Home } from './harness';

const set: PromptSet = {
  version: 1,
  name: 'Sentiment',
  instruction: 'Is the text positive or negative?',
  form: { input: 'Text', output: 'Sentiment' },
  generation: { maxNewTokens: 12 },
  examples: [
    { input: 'A joy to use.', output: 'positive' },
    { input: 'It crashes all the time.', output: 'negative' },
    { input: 'I like it a lot.', output: 'positive' },
    { input: 'Never again.', output: 'negative', off: true },
  ],
};
const options = ['positive', 'negative', 'I do not know'];
const input = 'The new version is quick.';
const model = { model: 'starter', engine: 'cpu' } as const;

let home: Home;
let client: Client;
beforeAll(async () => {
  home = Home.create();
  client = await home.client();
});
afterAll(() => home.cleanup());

const outcomes = (progress: readonly PromptProgress[]) => progress.flatMap((p) => (p.kind === 'outcome' ? [p] : []));
const count = (of: PromptSet, query?: string) =>
  client.request<PromptCount>(Method.countPrompt, {
    ...model,
    set: of,
    ...(query === undefined ? {} : { input: query }),
  });
const run = (of: PromptSet, query: string, more: object = {}) =>
  client.request<PromptRunResult>(Method.runPrompt, { ...model, set: of, input: query, ...more });

describe('counting', () => {
  it('loads no model, and its parts add up to what the model is given', async () => {
    const counted = await count(set, input);
    expect((await client.status()).state).toBe('idle');
    const parts = counted.instruction + counted.query + counted.examples.reduce((sum, { tokens }) => sum + tokens, 0);
    expect(parts).toBe(counted.total);
    expect(counted).toMatchObject({ model: 'starter', window: 2048, trainedLength: 512, fits: true, hopeless: false });
    expect(counted.examples[3]).toEqual({ tokens: 0, fits: true });
    const { promptIds } = await run(set, input);
    expect(counted.total).toBe(promptIds.length);
    // What an example adds is the difference that switching it off makes.
    const without = await count(
      { ...set, examples: set.examples.map((e, at) => (at === 1 ? { ...e, off: true } : e)) },
      input,
    );
    expect(counted.total - without.total).toBe(counted.examples[1]?.tokens);
  });

  it('goes on while the model answers', async () => {
    const source = new CancellationTokenSource();
    const long = { ...model, task: 'generate', text: 'Write.', maxNewTokens: 4096, temperature: 50, seed: 7 };
    let ended = false;
    const running = client.request(Method.run, long, source.token).finally(() => {
      ended = true;
    });
    try {
      expect((await count(set, input)).fits).toBe(true);
      expect(ended).toBe(false);
    } finally {
      source.cancel();
      await running;
    }
  });
});

describe('one input', () => {
  it('is the raw prompt of the same text, streamed', async () => {
    const progress: PromptProgress[] = [];
    const text = promptText(set, input);
    const raw = await client.run({ ...model, task: 'generate', text, maxNewTokens: 12 });
    const result = await client.prompt<PromptRunResult>(Method.runPrompt, { ...model, set, input }, (p) =>
      progress.push(p),
    );
    expect(result.promptIds).toEqual(raw.promptIds);
    expect(raw.ids.slice(0, result.ids.length)).toEqual(result.ids);
    expect(progress.flatMap((p) => (p.kind === 'text' ? [p.append] : [])).join('')).toBe(result.text);
    const scored = await client.request<ScoreResult>(Method.score, { ...model, prompt: text, answer: raw.text });
    if (raw.finishReason === 'stop' && scored.ids.join() === raw.ids.join()) {
      expect(result.logprob).toBeCloseTo(scored.logprob, 3);
    }
  });

  it('with options: the one that scores best, and each scores as it does alone', async () => {
    const withOptions = { ...set, options };
    const result = await run(withOptions, input);
    const prompt = promptText(withOptions, input);
    expect(prompt).toContain('OPTIONS:\n- positive\n- negative\n- I do not know\n\n');
    expect(result.options?.map(({ option }) => option)).toEqual(options);
    for (const { option, logprob } of result.options ?? []) {
      const alone = await client.request<ScoreResult>(Method.score, { ...model, prompt, answer: option });
      expect(logprob).toBeCloseTo(alone.logprob, 3);
    }
    const best = [...(result.options ?? [])].sort((a, b) => b.logprob - a.logprob)[0];
    expect(result.text).toBe(best?.option);
    expect(result.options?.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 6);
  });

  it('with votes: the samples are those of their seeds, and the most frequent answer wins', async () => {
    const votes = 5;
    const generation = { maxNewTokens: 6, votes, temperature: 0.4, seed: 11 };
    const progress: PromptProgress[] = [];
    const params = { ...model, set: { ...set, generation }, input };
    const result = await client.prompt<PromptRunResult>(Method.runPrompt, params, (p) => progress.push(p));
    const text = promptText(set, input);
    const alone = [];
    for (let row = 0; row < votes; row++) {
      alone.push(
        await client.run({ ...model, task: 'generate', text, maxNewTokens: 6, temperature: 0.4, seed: 11 + row }),
      );
    }
    expect(alone.map(({ ids }) => ids.join())).toContain(result.ids.join());
    const whole = alone.filter(({ finishReason }) => finishReason === 'stop');
    const counted = result.votes?.reduce((sum, { count: of }) => sum + of, 0);
    expect(counted).toBe(whole.length === 0 ? votes : whole.length);
    expect(result.votes?.[0]?.answer).toBe(result.text);
    expect(progress.at(-1)).toMatchObject({ kind: 'voting', of: votes });
    expect((await run({ ...set, generation }, input)).votes).toEqual(result.votes);
  });

  it('too long: refused with the examples named, or without them when told', async () => {
    // The second one alone is longer than the window: what is left is quick to read.
    const huge = { input: 'word '.repeat(2100), output: 'negative' };
    const [first, second, third] = set.examples;
    if (first === undefined || second === undefined || third === undefined) throw new Error('three examples');
    const long = { ...set, examples: [first, huge, second, { ...third, off: true }, third] };
    const counted = await count(long, input);
    expect(counted).toMatchObject({ fits: false, hopeless: false });
    const away = counted.examples.flatMap(({ fits }, at) => (fits ? [] : [at]));
    expect(away).toEqual([1, 2, 4]);
    await expect(run(long, input)).rejects.toThrow(
      /^The prompt has \d+ tokens, the model reads 2048: examples 2-3, 5 do not fit\./,
    );
    const dropped = await run(long, input, { whenTooLong: 'drop' });
    expect(dropped.dropped).toEqual(away);
    expect(dropped.promptIds).toEqual((await run({ ...set, examples: [first] }, input)).promptIds);
    const hopeless = await count(long, 'word '.repeat(3000));
    expect(hopeless).toMatchObject({ fits: false, hopeless: true });
    await expect(run(long, 'word '.repeat(3000))).rejects.toThrow(/instruction and input alone/);
  });

  it('is refused with a reason when the set is not ready, or no set at all', async () => {
    await expect(run({ ...set, options: ['one'] }, input)).rejects.toThrow(/One option is no choice/);
    await expect(run({ ...set, examples: [{ input: 'a', output: ' ' }] }, input)).rejects.toThrow(
      /Example 1 has no output/,
    );
    await expect(run({ ...set, examples: [{ input: 1 }] } as unknown as PromptSet, input)).rejects.toMatchObject({
      data: { code: 'usage' },
    });
    await expect(run(set, ' \n')).rejects.toMatchObject({ data: { code: 'empty-input' } });
  });
});

describe('many inputs', () => {
  it('have the answers that each has alone, in order, and a wrong one does not stop the others', async () => {
    const inputs = ['Good.', ' ', 'Bad.', 'word '.repeat(3000), 'Good.', 'So-so.'];
    const progress: PromptProgress[] = [];
    const result = await client.prompt<RunManyResult>(Method.runPromptMany, { ...model, set, inputs }, (p) =>
      progress.push(p),
    );
    expect(result).toMatchObject({ answered: 4, failed: 2, cancelled: false, model: 'starter', demo: true });
    const seen = outcomes(progress);
    expect(seen.map(({ at }) => at)).toEqual([0, 1, 2, 3, 4, 5]);
    for (const { at, outcome } of seen) {
      if (outcome.kind === 'failed') {
        expect(outcome.code).toBe(at === 1 ? 'empty-input' : 'prompt-set-too-long');
        continue;
      }
      const { text, logprob, promptTokens } = await run(set, inputs[at] ?? '');
      expect(outcome.answer).toMatchObject({ text, logprob, promptTokens });
      expect(outcome.answer).not.toHaveProperty('promptIds');
    }
    expect(seen[4]?.outcome).toEqual(seen[0]?.outcome);
  });

  it('show one state from the first to the last', async () => {
    await run(set, input);
    // What was sent before this answer has come before it.
    expect((await client.status()).state).toBe('ready');
    const seen = client.statuses.length;
    const inputs = Array.from({ length: 12 }, (_, at) => `Number ${at}.`);
    await client.prompt<RunManyResult>(Method.runPromptMany, { ...model, set, inputs }, () => {});
    expect((await client.status()).state).toBe('ready');
    const states = client.statuses.slice(seen).map(({ state }) => state);
    expect(states.filter((state, at) => state !== states[at - 1])).toEqual(['busy', 'ready']);
  });

  it('stop when cancelled, with what was done; others get their turn in between', async () => {
    const inputs = Array.from({ length: 400 }, (_, at) => `Number ${at}.`);
    const source = new CancellationTokenSource();
    const other = await home.client();
    let between: Promise<unknown> | undefined;
    const progress: PromptProgress[] = [];
    const params = { ...model, set, inputs };
    const result = await client.prompt<RunManyResult>(
      Method.runPromptMany,
      params,
      (p) => {
        progress.push(p);
        if (p.kind !== 'outcome') return;
        if (p.at === 2)
          between ??= other.request(Method.runPrompt, { ...model, set, input }).then(() => source.cancel());
      },
      source.token,
    );
    await between;
    expect(result.cancelled).toBe(true);
    expect(result.answered).toBeGreaterThanOrEqual(3);
    expect(result.answered).toBeLessThan(400);
    expect(outcomes(progress)).toHaveLength(result.answered);
  });
});

describe('checking', () => {
  it('predicts each example from the others, and scores its own output as `score` does', async () => {
    const progress: PromptProgress[] = [];
    const report = await client.prompt<CheckReport>(Method.checkPrompt, { ...model, set }, (p) => progress.push(p));
    expect(report.examples.map(({ index }) => index)).toEqual([0, 1, 2]);
    expect(progress.flatMap((p) => (p.kind === 'checked' ? [p.example] : []))).toEqual(report.examples);
    for (const { index, predicted, own, agrees } of report.examples) {
      const example = set.examples[index] ?? { input: '', output: '' };
      const others = { ...set, examples: set.examples.filter((_, at) => at !== index) };
      const alone = await run(others, example.input);
      expect(predicted).toMatchObject({
        kind: 'answered',
        answer: { text: alone.text, promptTokens: alone.promptTokens },
      });
      expect(agrees).toBe(alone.text.toLowerCase() === example.output);
      const prompt = promptText(others, example.input);
      const scored = await client.request<ScoreResult>(Method.score, { ...model, prompt, answer: example.output });
      expect(own?.logprob).toBeCloseTo(scored.logprob, 4);
      expect(own?.tokens).toBe(scored.ids.length);
      expect(own?.perToken).toBeCloseTo(scored.logprob / scored.ids.length, 4);
    }
    const mean = report.examples.reduce((sum, { own }) => sum + (own?.perToken ?? Number.NaN), 0) / 3;
    expect(report.meanPerToken).toBeCloseTo(mean, 6);
    expect(report).toMatchObject({ cancelled: false, model: 'starter' });
  });
});
