/** `flan run`: the same sets as in the editor, from a terminal: streams, files, tables, stopping and going on. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formatPromptSet } from '../../server/prompts/file';
import { promptText } from '../../server/prompts/render';
import type { CheckReport, PromptRunResult, PromptSet, RunResult } from '../../server/protocol';
import { json } from './cli_home';
import { finished, Home, until } from './harness';

const set: PromptSet = {
  version: 1,
  name: 'The Mood',
  instruction: 'Is the text good or bad?',
  form: 'qa',
  generation: { maxNewTokens: 8 },
  examples: [
    { input: 'I like it.', output: 'good' },
    { input: 'I hate it.', output: 'bad' },
  ],
};
const choice: PromptSet = { ...set, name: 'Choice', options: ['good', 'bad'] };
const INPUTS = ['It is fine.', 'It broke, twice.', 'A "joy" to use.'];

let home: Home;
const path = (name: string) => join(home.paths.home, name);
const read = (name: string) => readFileSync(path(name), 'utf8');
/** What the raw prompt gives. */
const expected = async (input: string) => {
  const args = ['generate', '--prompt', promptText(set, input), '--max-new-tokens', '8', '--json'];
  return json<RunResult>((await home.flan(args)).stdout);
};

beforeAll(() => {
  home = Home.create();
  mkdirSync(path('.flan/prompts'), { recursive: true });
  writeFileSync(path('.flan/prompts/mood.json'), formatPromptSet(set));
  writeFileSync(path('.flan/prompts/choice.json'), formatPromptSet(choice));
  writeFileSync(path('.flan/prompts/broken.json'), '{\n  "name": "Broken",\n  "examples": [{ "input": 1 }]\n}\n');
  writeFileSync(path('lines.txt'), `${INPUTS.join('\n')}\n\n`);
  writeFileSync(path('table.csv'), `id,Review\n1,It is fine.\n2,"It broke, twice."\n3,"A ""joy"" to use."\n4,\n`);
});
afterAll(() => home.cleanup());

describe('flan run', () => {
  it('answers every line as the raw prompt does, a line each, and notes on stderr', async () => {
    const ran = await home.flan(['run', 'mood', 'lines.txt']);
    expect(ran.code).toBe(0);
    const texts = await Promise.all(INPUTS.map(async (input) => (await expected(input)).text));
    // Sets stop a model that repeats itself; the raw prompt does not.
    const answers = ran.stdout.trimEnd().split('\n');
    expect(answers).toHaveLength(3);
    for (const [at, answer] of answers.entries()) expect(texts[at]?.startsWith(answer)).toBe(true);
    expect(ran.stderr).toMatch(/3 of 3 inputs answered\.\n$/);
  });

  it('finds a set by its file, by its name, by its path, and in the gallery', async () => {
    const prompts = [];
    for (const name of ['mood', 'the mood', './.flan/prompts/mood.json']) {
      const ran = await home.flan(['run', name, '--input', 'Good.', '--json']);
      prompts.push(json<PromptRunResult>(ran.stdout).promptIds);
    }
    expect(prompts[1]).toEqual(prompts[0]);
    expect(prompts[2]).toEqual(prompts[0]);
    const list = await home.flan(['run', '--list', '--json']);
    const listed = json<{ name: string; from: string }[]>(list.stdout);
    expect(listed.slice(0, 3).map(({ name, from }) => `${name} ${from}`)).toEqual([
      'choice workspace',
      'mood workspace',
      'broken broken',
    ]);
    const ready = listed.filter(({ from }) => from === 'gallery').map(({ name }) => name);
    expect(ready).toEqual(expect.arrayContaining(['log-line', 'function-name', 'commit-message', 'extract-fields']));
    const gallery = await home.flan(['run', 'sentiment', '--input', 'I like it.']);
    expect(gallery.code).toBe(0);
    expect(['positive', 'negative', 'neutral']).toContain(gallery.stdout.trim());
  });

  it('takes a column of a table, keeps its other columns, and tells of rows without an input', async () => {
    const ran = await home.flan(['run', 'choice', 'table.csv', '--column', 'review', '--csv']);
    const lines = ran.stdout.trimEnd().split('\n');
    expect(lines[0]).toBe('id,Review,output,probability,error');
    expect(lines).toHaveLength(4);
    expect(lines[2]).toMatch(/^2,"It broke, twice\.",(good|bad),0\.\d{4},$/);
    expect(lines[3]).toMatch(/^3,"A ""joy"" to use\.",/);
    expect(ran.stderr).toMatch(/table\.csv: Line 5 has nothing under 'Review'\./);
    const records = (await home.flan(['run', 'choice', 'table.csv', '--jsonl'])).stdout.trimEnd().split('\n');
    const record = json<{ line: number; input: string; options: Record<string, number> }>(records[2] ?? '');
    expect(record).toMatchObject({ line: 4, input: INPUTS[2] });
    expect(Object.values(record.options).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 6);
  });

  it('with --json prints one object; a whole file is one input', async () => {
    const many = json<{ set: string; answered: number; results: { output: string }[] }>(
      (await home.flan(['run', 'mood', '-', '--json'], { input: INPUTS.join('\n') })).stdout,
    );
    expect(many).toMatchObject({ set: 'The Mood', answered: 3, failed: 0, cancelled: false, model: 'starter' });
    const whole = await home.flan(['run', 'mood', '--whole', '-', '--json'], { input: INPUTS.join('\n') });
    expect(whole.stderr).toBe('');
    const raw = await expected(INPUTS.join('\n'));
    expect(json<PromptRunResult>(whole.stdout).promptIds).toEqual(raw.promptIds);
  });

  it('shows the prompt and its size without a model', async () => {
    const ran = await home.flan(['run', 'mood', '--dry-run', '--input', 'So-so.']);
    expect(ran.stdout).toBe(`${promptText(set, 'So-so.')}\n`);
    const [, total] = /^(\d+) of 2048 tokens/.exec(ran.stderr) ?? [];
    const { promptIds } = json<PromptRunResult>(
      (await home.flan(['run', 'mood', '--input', 'So-so.', '--json'])).stdout,
    );
    expect(Number(total)).toBe(promptIds.length);
  });

  it('stops at Ctrl-C, keeps what is done, and goes on to the same file as without a stop', async () => {
    const lines = Array.from({ length: 120 }, (_, at) => `Thing ${at} is ${at % 3 === 0 ? 'good' : 'bad'}.`);
    writeFileSync(path('many.txt'), lines.join('\n'));
    await home.flan(['run', 'mood', 'many.txt', '--out', 'all.csv']);
    expect(read('all.csv').trimEnd().split('\n')).toHaveLength(121);
    expect(existsSync(path('all.csv.partial'))).toBe(false);

    const args = ['run', 'mood', 'many.txt', '--out', 'stopped.csv'];
    const child = home.start(args);
    const partial = () =>
      existsSync(path('stopped.csv.partial')) ? read('stopped.csv.partial').split('\n').length : 0;
    const ended = finished(child);
    await until(() => partial() > 4);
    child.kill('SIGINT');
    const stopped = await ended;
    expect(stopped.code).toBe(0);
    expect(stopped.stderr).toMatch(/Stopped: \d+ of 120 inputs answered\. stopped\.csv\.partial holds them/);
    expect(existsSync(path('stopped.csv'))).toBe(false);
    const kept = partial();

    const without = await home.flan(args);
    expect(without).toMatchObject({ code: 1 });
    expect(without.stderr).toMatch(/stopped\.csv\.partial holds \d+ results.*--resume/);
    expect(partial()).toBe(kept);

    const resumed = await home.flan([...args, '--resume']);
    expect(resumed.code).toBe(0);
    expect(resumed.stderr).toMatch(/Going on: \d+ results are there\./);
    expect(read('stopped.csv')).toBe(read('all.csv'));
    expect(existsSync(path('stopped.csv.partial'))).toBe(false);
  });

  it('does not go on with the results of another set', async () => {
    writeFileSync(path('other.csv.partial'), '{"flanRun":1,"model":"starter"}\n');
    const ran = await home.flan(['run', 'mood', 'lines.txt', '--out', 'other.csv', '--resume']);
    expect(ran).toMatchObject({ code: 1, stdout: '' });
    expect(ran.stderr).toMatch(/other\.csv\.partial belongs to another version of the set/);
    expect(read('other.csv.partial')).toContain('flanRun');
  });

  it('goes on after an input that cannot be answered, names its line, and exits with 1', async () => {
    writeFileSync(path('long.txt'), `Good.\n${'word '.repeat(3000)}\nBad.\n`);
    const ran = await home.flan(['run', 'mood', 'long.txt']);
    expect(ran.code).toBe(1);
    const [first, second, third] = ran.stdout.split('\n');
    expect([first, second, third].map((line) => line === '')).toEqual([false, true, false]);
    expect(ran.stderr).toMatch(/long\.txt, line 2: The prompt has \d+ tokens.*\n2 of 3 inputs answered, 1 failed\./s);
  });

  it('checks a set, keeps the results, and compares with them after an edit', async () => {
    const first = await home.flan(['run', 'choice', '--check', '--keep']);
    expect(first.code).toBe(0);
    expect(first.stdout.trimEnd().split('\n')).toHaveLength(2);
    expect(first.stderr).toMatch(/\d of 2 agree; mean log-likelihood per token -\d+\.\d\d\./);
    const again = await home.flan(['run', 'choice', '--check']);
    expect(again.stderr).toMatch(/Compared with the baseline: 2 same\./);
    const edited = { ...choice, examples: [...choice.examples.slice(1), { input: 'Superb.', output: 'good' }] };
    writeFileSync(path('.flan/prompts/choice.json'), formatPromptSet(edited));
    const ran = await home.flan(['run', 'choice', '--check', '--json']);
    const report = json<CheckReport & { comparison: { counts: { new: number }; gone: unknown[] } }>(ran.stdout);
    expect(report.comparison.counts.new).toBe(1);
    expect(report.comparison.gone).toHaveLength(1);
    writeFileSync(path('.flan/prompts/choice.json'), formatPromptSet(choice));
  });

  it.each<[string, string[], number, RegExp]>([
    ['no set', ['run'], 2, /--list/],
    ['no file', ['run', 'mood'], 2, /FILE, --input TEXT, or --check/],
    ['two things to do', ['run', 'mood', 'lines.txt', '--check'], 2, /one of these/],
    ['a column of nothing', ['run', 'mood', '--input', 'a', '--column', 'b'], 2, /--column goes only with a FILE/],
    ['resuming nothing', ['run', 'mood', 'lines.txt', '--resume'], 2, /--out FILE/],
    [
      'results over their own input',
      ['run', 'mood', 'lines.txt', '--out', './lines.txt'],
      2,
      /replace lines\.txt itself/,
    ],
    ['two formats', ['run', 'mood', 'lines.txt', '--csv', '--jsonl'], 2, /one of --json/],
    ['a column that is not there', ['run', 'mood', 'table.csv', '--column', 'x'], 2, /no column 'x'.*id, Review/],
    ['a format that is none', ['run', 'mood', 'table.csv', '--format', 'xls'], 2, /--format.*'xls'/],
    ['an unknown set', ['run', 'none', 'lines.txt'], 1, /no prompt set "none".*mood.*log-line/],
    ['a broken set', ['run', 'broken', 'lines.txt'], 1, /broken\.json, line 3: Example 1: "input" is a text/],
    ['a broken table', ['run', 'mood', 'quote.csv'], 1, /quote\.csv, line 2: A quote that was opened is not closed/],
    ['a file that is not there', ['run', 'mood', 'none.txt'], 1, /none\.txt does not exist/],
    ['keeping what has no place', ['run', 'sentiment', '--check', '--keep'], 1, /\.flan\/prompts/],
    [
      'a place that cannot be written',
      ['run', 'mood', 'lines.txt', '--out', 'table.csv/out.csv'],
      1,
      /cannot be written/,
    ],
  ])('exits with one line for %s', async (_, args, code, message) => {
    writeFileSync(path('quote.csv'), 'id,text\n1,"never closed\n2,b\n');
    const ran = await home.flan(args);
    expect(ran.stderr).toMatch(message);
    expect(ran).toMatchObject({ code, stdout: '' });
    expect(ran.stderr).toMatch(/^flan: [^\n]+\n$/);
  });
});
