/** The tasks on the command line: text on stdout, notes on stderr, one object with --json. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunResult, ScoreResult } from '../../server/protocol';
import { homeWithFiles, json, LINES } from './cli_home';
import { type Home, STARTER } from './harness';

let home: Home;
beforeAll(() => {
  home = homeWithFiles();
});
afterAll(() => home.cleanup());

describe('tasks', () => {
  const fields = ['text', 'ids', 'promptIds', 'finishReason', 'engine', 'device', 'model', 'weights', 'timings'];

  it('print text on stdout and notes on stderr; with --json the same text, and nothing else anywhere', async () => {
    const tasks = [
      ['explain', 'add.py'],
      ['summarize', 'lines.txt', 'add.py'],
      ['ask', 'What does line 3 tell about?', 'lines.txt'],
      ['generate', '--prompt', 'Summarize the following text.'],
    ];
    for (const args of tasks) {
      const plain = await home.flan(args);
      expect(plain.code).toBe(0);
      expect(plain.stderr).toMatch(/demonstration model/);
      expect(plain.stderr).toMatch(/starter \(int8\) on .*words\/s/);
      const quiet = await home.flan([...args, '--json']);
      expect(quiet).toMatchObject({ code: 0, stderr: '' });
      const result = json<RunResult>(quiet.stdout);
      for (const field of fields) expect(result).toHaveProperty(field);
      expect(Object.keys(result.timings).sort()).toEqual(['encodeMs', 'firstTokenMs', 'loadMs', 'msPerToken']);
      expect(plain.stdout).toBe(`${result.text}\n`);
      expect(`${plain.stdout}${plain.stderr}`).not.toMatch(/<pad>|<\/s>/);
      expect(plain.stderr).not.toContain('\u001b');
      expect(result.promptIds.at(-1)).toBe(1);
    }
  });

  it('read a range of lines, standard input, UTF-16 and oddly named files', async () => {
    const range = json<RunResult>((await home.flan(['explain', 'lines.txt:5-9', '--json'])).stdout);
    expect(range.read).toMatchObject({ complete: true, fromLine: 5, toLine: 9 });
    const stdin = await home.flan(['summarize', '-', '--json'], { input: LINES.split('\n').slice(4, 9).join('\n') });
    const file = json<RunResult>((await home.flan(['summarize', 'lines.txt:5-9', '--json'])).stdout);
    expect(json<RunResult>(stdin.stdout).ids).toEqual(file.ids);
    expect((await home.flan(['summarize', 'utf16.txt'])).code).toBe(0);
    expect((await home.flan(['summarize', 'odd:1-2'])).code).toBe(0);
    expect((await home.flan(['summarize', 'large.txt:1-3'])).code).toBe(0);
  });

  it('say which part of a long text was read', async () => {
    writeFileSync(join(home.paths.home, 'long.txt'), `${LINES}\n`.repeat(20));
    const ran = await home.flan(['summarize', 'long.txt']);
    expect(ran.code).toBe(0);
    const [, to] = /Read lines 1-(\d+) of long\.txt: lines \d+-600 did not fit/.exec(ran.stderr) ?? [];
    const { read } = json<RunResult>((await home.flan(['summarize', 'long.txt', '--json'])).stdout);
    expect(Number(to)).toBe(read.toLine);
    expect(read).toMatchObject({ complete: false, lastLine: 600 });
    writeFileSync(join(home.paths.home, 'one-line.txt'), LINES.replaceAll('\n', ' ').repeat(20));
    expect((await home.flan(['summarize', 'one-line.txt'])).stderr).toMatch(/up to the middle of line 1:/);
    const two = await home.flan(['summarize', 'add.py', 'long.txt', 'lines.txt']);
    expect(two.stderr).toMatch(/Read all of add\.py\.\nRead lines 1-\d+ of long\.txt.*\nNot read: lines\.txt/);
  });

  it('take a prompt from a file, limit the answer and say that it was cut', async () => {
    const given = await home.flan(['generate', '--prompt', LINES, '--max-new-tokens', '3', '--json']);
    const file = await home.flan(['generate', '--prompt-file', 'lines.txt', '--max-new-tokens', '3', '--json']);
    const result = json<RunResult>(file.stdout);
    expect(result.ids).toEqual(json<RunResult>(given.stdout).ids);
    expect(result).toMatchObject({ finishReason: 'length' });
    expect(result.ids).toHaveLength(3);
    const plain = await home.flan(['generate', '--prompt-file', 'lines.txt', '--max-new-tokens', '3']);
    expect(plain.stderr).toMatch(/cut after 3 tokens.*--max-new-tokens/);
  });

  it('sample the same text with the same seed, and use beams', async () => {
    const sample = [
      'generate',
      '--prompt',
      'Write about dogs.',
      '--temperature',
      '2',
      '--max-new-tokens',
      '20',
      '--json',
    ];
    const ids = async (...extra: string[]) => json<RunResult>((await home.flan([...sample, ...extra])).stdout).ids;
    const first = await ids('--seed', '1');
    expect(await ids('--seed', '1')).toEqual(first);
    expect(await ids('--seed', '2')).not.toEqual(first);
    const beams = await home.flan(['explain', 'add.py', '--beams', '3', '--json']);
    expect(json<RunResult>(beams.stdout).text).not.toBe('');
  });

  it('score an answer, by token and in all', async () => {
    const args = ['score', '--prompt', 'Summarize: the cat sat', '--answer', 'the cat'];
    const result = json<ScoreResult>((await home.flan([...args, '--json'])).stdout);
    expect(result.tokens.map((token) => token.id)).toEqual(result.ids);
    expect(result.tokens.reduce((sum, token) => sum + token.logprob, 0)).toBeCloseTo(result.logprob, 4);
    expect(Object.keys(result.tokens[0] ?? {}).sort()).toEqual(['id', 'logprob', 'text']);
    const plain = await home.flan(args);
    expect(plain.stdout.split('\n')[0]).toMatch(new RegExp(`^ *${result.logprob.toFixed(4)} {2}in all$`));
  });

  it('load the model folder that is named by its path', async () => {
    const ran = await home.flan(['explain', 'add.py', '--model', STARTER, '--engine', 'cpu', '--json']);
    expect(json<RunResult>(ran.stdout)).toMatchObject({ model: 'starter', demo: true, engine: 'cpu' });
  });
});
