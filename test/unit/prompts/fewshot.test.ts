// A prompt set on a model: stand-ins, window, count; answers written, chosen and voted for. On an engine that is a table.
import { describe, expect, it } from 'vitest';
import { promptText } from '../../../server/prompts/render';
import type { Progress, PromptSet } from '../../../server/protocol';
import { answerPrompt, type PromptJob } from '../../../server/tasks/fewshot/answer';
import { countSet } from '../../../server/tasks/fewshot/count';
import { fitSet } from '../../../server/tasks/fewshot/fit';
import type { TaskModel } from '../../../server/tasks/model';
import { profileFor } from '../../../server/tasks/profiles';
import type { TextCodec } from '../../../server/text/codec';
import {
  fixedTable,
  hashTable,
  logSoftmax,
  START,
  type Table,
  TableEngine,
  tableConfig,
} from '../generate/table-engine';
import { starterCodec, webCodec } from '../text/tokenizers';
import { SET } from './support';

const starter = starterCodec();
const web = webCodec();
const VOCAB = 16_000;

function modelOf(codec: TextCodec, table: Table, window = 2048): { model: TaskModel; engine: TableEngine } {
  const engine = new TableEngine(VOCAB, table);
  const profile = { ...profileFor('flan-t5-xl', tableConfig(VOCAB)), window };
  return { engine, model: { name: 'm', engine, codec, profile, demo: false, weights: 'int8', loadMs: 0 } };
}

const says = (text: string, codec = starter) => modelOf(codec, fixedTable(VOCAB, codec.encode(text)));
const BRACES: PromptSet = {
  ...SET,
  examples: [
    { input: 'a is 1', output: '{ "a": 1 }' },
    { input: 'b is 2', output: '{ "b": 2 }' },
  ],
};

describe('a fitted set', () => {
  it('is the rendered prompt where the vocabulary has everything', () => {
    const { model } = says('x');
    const fitted = fitSet(model, SET, 'Good.');
    expect(fitted.text).toBe(promptText(SET, 'Good.'));
    expect(fitted.ids).toEqual(starter.encode(promptText(SET, 'Good.')));
    expect(fitted).toMatchObject({ dropped: [], window: 2048 });
  });

  it('has stand-ins in examples and query alike, and knows the way back', async () => {
    const { model } = modelOf(web, fixedTable(VOCAB, web.encode('[[ "c": 3 ]]')));
    const { text, plan } = fitSet(model, BRACES, 'what is {?');
    expect(text).toContain('Sentiment: [[ "a": 1 ]]');
    expect(text).toContain('Text: what is [[?');
    expect(plan.substitutions).toContainEqual({ char: '{', as: '[[', count: 3 });
    // The lines of the form are no loss of the user's text.
    expect(plan.substitutions.find(({ char }) => char === '\n')).toBeUndefined();
    const result = await answerPrompt(model, { set: BRACES, input: 'c is 3' });
    expect(result.text).toBe('{ "c": 3 }');
  });

  it('of a model with mode tokens ends in the gap that it fills; the count knows', () => {
    const { model } = modelOf(starter, hashTable(VOCAB));
    const ul2 = { ...model, profile: profileFor('google/ul2', tableConfig(VOCAB)) };
    const { text, ids } = fitSet(ul2, SET, 'x');
    expect(text).toBe(`[S2S] ${promptText(SET, 'x')} <extra_id_0>`);
    expect(countSet(ul2, SET, 'x').total).toBe(ids.length);
    for (const name of ['google/flan-ul2', 't5-small', 'codet5-base']) {
      const other = { ...model, profile: profileFor(name, tableConfig(VOCAB)) };
      expect(fitSet(other, SET, 'x').text).toBe(promptText(SET, 'x'));
    }
  });

  it('marks line breaks only where an output has one', () => {
    const { model } = modelOf(web, hashTable(VOCAB));
    const lines = { ...SET, examples: [{ input: 'a\nb', output: 'c' }] };
    expect(fitSet(model, lines, 'x\ny').text).toContain('Text: a\nb\n');
    const both = { ...SET, examples: [{ input: 'a\nb', output: 'c\nd' }] };
    const fitted = fitSet(model, both, 'x\ny');
    const mark = /Text: a (\S+)\nb\n/.exec(fitted.text)?.[1] ?? 'none';
    expect(fitted.text).toContain(`Sentiment: c ${mark}\nd\n`);
    expect(fitted.plan.restore(`e ${mark} f`)).toBe('e\nf');
  });

  it('leaves one example out, and writes its output as the others are written', async () => {
    const { model, engine } = modelOf(web, fixedTable(VOCAB, web.encode('[[ "a": 1 ]]')));
    const result = await answerPrompt(model, { set: BRACES, input: 'a is 1', leaveOut: 0 });
    expect(web.decode(engine.prompts[0] ?? [])).not.toContain('"a"');
    expect(result.text).toBe(BRACES.examples[0]?.output);
    const ids = web.encode('[[ "a": 1 ]]');
    // The table is nearly sure of it.
    expect(result.own?.tokens).toBe(ids.length);
    expect(result.own?.perToken).toBeCloseTo((result.own?.logprob ?? 0) / ids.length, 9);
    expect(result.own?.logprob).toBeCloseTo(result.logprob, 4);
    expect(engine.open).toBe(0);
  });
});

describe('the count', () => {
  it('adds up, and each example costs what the whole is shorter without it', () => {
    for (const codec of [starter, web]) {
      const { model } = modelOf(codec, hashTable(VOCAB));
      for (const set of [SET, BRACES, { ...SET, options: ['positive', 'negative'] }, { ...SET, instruction: '' }]) {
        const counted = countSet(model, set, 'A query.');
        expect(counted.total).toBe(fitSet(model, set, 'A query.').ids.length);
        const examples = counted.examples.reduce((sum, { tokens }) => sum + tokens, 0);
        expect(counted.instruction + examples + counted.query).toBe(counted.total);
        const last = set.examples.length - 1;
        const without = { ...set, examples: set.examples.slice(0, last) };
        expect(counted.total - countSet(model, without, 'A query.').total).toBe(counted.examples[last]?.tokens);
      }
    }
  });

  it('counts what is not ready, and what is empty', () => {
    const { model } = modelOf(starter, hashTable(VOCAB));
    const half = { ...SET, examples: [{ input: '', output: '' }] };
    expect(countSet(model, half, '').fits).toBe(true);
    const empty = countSet(model, { ...SET, instruction: '', examples: [] }, '');
    expect(empty).toMatchObject({ instruction: 0, total: empty.query, examples: [] });
  });

  it('of thousands of examples looks at those that may have room', () => {
    const { model } = modelOf(starter, hashTable(VOCAB));
    const line = { input: `${'word '.repeat(12)}${' '.repeat(40)}`, output: 'positive' };
    const many = { ...SET, examples: Array.from({ length: 3000 }, () => line) };
    const fitted = fitSet(model, many, 'x', { whenTooLong: 'drop' });
    const kept = many.examples.length - fitted.dropped.length;
    expect(fitted.ids.length).toBeLessThanOrEqual(2048);
    const more = { ...many, examples: many.examples.slice(0, kept + 1) };
    expect(starter.encode(promptText(more, 'x')).length).toBeGreaterThan(2048);
    expect(countSet(model, many, 'x').examples.filter(({ fits }) => fits)).toHaveLength(kept);
    expect(() => fitSet(model, many, 'word '.repeat(3000), { whenTooLong: 'drop' })).toThrow(/input alone/);
    // Long by their spaces only: all of them fit.
    const spaces = {
      ...SET,
      examples: Array.from({ length: 3 }, () => ({ input: `a${' '.repeat(50_000)}b`, output: 'positive' })),
    };
    const web2048 = { ...modelOf(web, hashTable(VOCAB)).model };
    expect(fitSet(web2048, spaces, 'x', { whenTooLong: 'drop' }).dropped).toEqual([]);
  });

  it('agrees with the fit about what has room, at every window', () => {
    const full = countSet(modelOf(starter, hashTable(VOCAB)).model, SET, 'x').total;
    for (let window = full + 1; window > 10; window--) {
      const { model } = modelOf(starter, hashTable(VOCAB), window);
      const counted = countSet(model, SET, 'x');
      expect(counted.fits).toBe(full <= window);
      const away = counted.examples.flatMap(({ fits }, at) => (fits ? [] : [at]));
      if (counted.hopeless) {
        expect(() => fitSet(model, SET, 'x', { whenTooLong: 'drop' })).toThrow(/instruction and input alone/);
        continue;
      }
      const fitted = fitSet(model, SET, 'x', { whenTooLong: 'drop' });
      expect(fitted.dropped).toEqual(away);
      expect(fitted.ids.length).toBeLessThanOrEqual(window);
      if (!counted.fits) expect(() => fitSet(model, SET, 'x')).toThrow(/not fit/);
      // One example more would not have fitted.
      const more = SET.examples.length - away.length + 1;
      if (away.length > 0) {
        const longer = { ...SET, examples: SET.examples.slice(0, more) };
        expect(starter.encode(promptText(longer, 'x')).length).toBeGreaterThan(window);
      }
    }
  });
});

describe('an answer', () => {
  const job = (change: Partial<PromptSet>, more: Partial<PromptJob> = {}): PromptJob => ({
    set: { ...SET, ...change },
    input: 'Some text.',
    ...more,
  });

  it('streams, ends at the limit of the set, and frees everything', async () => {
    const { model, engine } = says('one two three four five six seven');
    const progress: Progress[] = [];
    const onProgress = (p: Progress) => progress.push(p);
    const result = await answerPrompt(model, job({ generation: { maxNewTokens: 3 } }), { onProgress });
    expect(result).toMatchObject({ finishReason: 'length', tokens: 3 });
    expect(progress.flatMap((p) => (p.kind === 'text' ? [p.append] : [])).join('')).toBe(result.text);
    expect(engine.open).toBe(0);
  });

  it('is one of the options, whatever the model would rather say; probabilities are those of the table', async () => {
    const table = hashTable(VOCAB);
    const { model, engine } = modelOf(starter, table);
    const options = ['positive', 'negative', 'a rather long option of many words', 'x'];
    const examples = [{ input: 'a', output: 'x' }];
    const result = await answerPrompt(model, job({ options, examples }));
    const prompt = engine.prompts[0] ?? [];
    const logprobs = options.map((option) => {
      const ids = starter.encode(option);
      return ids.reduce((sum, id, at) => sum + (logSoftmax(table(prompt, [START, ...ids.slice(0, at)]))[id] ?? 0), 0);
    });
    for (const [at, scored] of (result.options ?? []).entries())
      expect(scored.logprob).toBeCloseTo(logprobs[at] ?? 0, 3);
    expect(result.text).toBe(options[logprobs.indexOf(Math.max(...logprobs))]);
    expect(result.options?.reduce((sum, { probability }) => sum + probability, 0)).toBeCloseTo(1, 9);
    expect(engine.open).toBe(0);
  });

  it('by votes is the answer of most samples; reasoning is shown, and cut samples do not count', async () => {
    // Which sample says what is decided by its first token.
    const texts = ['It is 3 plus 4. The answer is 7.', 'Clearly. The answer is 7', 'Hm. The answer is 8.'];
    const ids = texts.map((text) => starter.encode(text));
    const table: Table = (_, prefix) => {
      const logits = new Float32Array(VOCAB).fill(-30);
      const written = prefix.slice(1);
      if (written.length === 0) for (const [at, option] of ids.entries()) logits[option[0] ?? 0] = at === 0 ? 1.2 : 1;
      else {
        const fits = ids.find((option) => written.every((id, at) => option[at] === id)) ?? [];
        logits[fits[written.length] ?? 1] = 30;
      }
      return logits;
    };
    const { model, engine } = modelOf(starter, table);
    const progress: Progress[] = [];
    const onProgress = (p: Progress) => progress.push(p);
    const generation = { votes: 12, temperature: 1, seed: 9, maxNewTokens: 40 };
    const result = await answerPrompt(model, job({ generation }), { onProgress });
    expect(result.text).toBe('7');
    expect(result.votes?.map(({ answer }) => answer)).toEqual(['7', '8']);
    expect(result.votes?.reduce((sum, { count }) => sum + count, 0)).toBe(12);
    expect(texts.slice(0, 2)).toContain(result.sample);
    const voting = progress.flatMap((p) => (p.kind === 'voting' ? [p.finished] : []));
    expect(voting).toEqual([...voting].sort((a, b) => a - b));
    expect(voting.at(-1)).toBe(12);
    expect(engine.open).toBe(0);

    const short = await answerPrompt(model, job({ generation: { ...generation, maxNewTokens: ids[2]?.length ?? 0 } }));
    // Only the shortest ones came to an end.
    const whole = ids.filter((option) => option.length <= (ids[2]?.length ?? 0)).length;
    expect(short.votes?.length).toBe(whole === 1 ? 1 : 2);
  });

  it('stopped anywhere has the text so far, and frees everything', async () => {
    const kinds: Partial<PromptSet>[] = [{}, { options: ['positive', 'negative'] }, { generation: { votes: 3 } }];
    for (const change of kinds) {
      for (const at of [0, 1]) {
        const { model, engine } = says('one two three four five six');
        const signal = { stopped: false };
        engine.onStep = (step) => {
          if (step === at) signal.stopped = true;
        };
        const result = await answerPrompt(model, job(change), { signal });
        const wasChosen = change.options !== undefined;
        expect(result.finishReason).toBe(wasChosen ? 'stop' : 'cancelled');
        expect(engine.open).toBe(0);
      }
      const { model, engine } = says('one');
      const result = await answerPrompt(model, job(change), { signal: { stopped: true } });
      expect(result).toMatchObject({ finishReason: 'cancelled', text: '', tokens: 0 });
      expect(engine.prompts).toEqual([]);
    }
  });

  it('is refused before any work when set or input are not in order', async () => {
    const { model, engine } = says('one');
    await expect(answerPrompt(model, job({ options: ['one'] }))).rejects.toThrow(/no choice/);
    await expect(answerPrompt(model, job({}, { input: ' ' }))).rejects.toThrow(/no text/);
    await expect(answerPrompt(model, job({}, { input: 'a\0b' }))).rejects.toThrow(/binary/);
    await expect(answerPrompt(model, job({}, { input: 'word '.repeat(3000) }))).rejects.toThrow(/shorten/);
    expect(engine.prompts).toEqual([]);
  });
});
