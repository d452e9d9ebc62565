/** What people and programs are told when they ask for help or ask wrongly: exit code 2 or 1, and one line. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { homeWithFiles, json } from './cli_home';
import { type Home, STARTER } from './harness';

let home: Home;
beforeAll(() => {
  home = homeWithFiles();
});
afterAll(() => home.cleanup());

describe('usage', () => {
  const version = json<{ version: string }>(readFileSync(join(STARTER, '..', '..', 'package.json'), 'utf8')).version;

  it('helps, for all and for each command, without a server', async () => {
    const main = await home.flan(['--help']);
    expect(main).toMatchObject({ code: 0, stderr: '' });
    const commands = [
      'explain',
      'summarize',
      'ask',
      'generate',
      'score',
      'run',
      'convert',
      'models',
      'pull',
      'rm',
      'verify',
      'doctor',
      'bench',
      'status',
      'stop',
    ];
    for (const command of commands) {
      expect(main.stdout).toContain(command);
      const help = await home.flan([command, '--help']);
      expect(help).toMatchObject({ code: 0, stderr: '' });
      expect(help.stdout).toContain(`flan ${command}`);
    }
    expect((await home.flan([])).stdout).toBe(main.stdout);
    expect(await home.flan(['--version'])).toMatchObject({ code: 0, stdout: `${version}\n` });
    expect(home.pid).toBeUndefined();
  });

  it.each<[string, string[], RegExp]>([
    ['an unknown command', ['translate'], /no command 'translate'.*--help/],
    ['an unknown option', ['explain', 'add.py', '--fast'], /--fast.*explain --help/],
    ['an option without its value', ['explain', 'add.py', '--model'], /--model/],
    ['no file', ['explain'], /FILE/],
    ['two files to explain', ['explain', 'add.py', 'lines.txt'], /one file/],
    ['nothing to summarize', ['summarize'], /FILE/],
    ['no question', ['ask'], /question/],
    ['a question without a file', ['ask', 'Why?'], /file/],
    ['an empty question', ['ask', ' ', 'add.py'], /question/],
    ['no prompt', ['generate'], /--prompt/],
    ['two prompts', ['generate', '--prompt', 'a', '--prompt-file', 'add.py'], /--prompt/],
    ['a file to generate', ['generate', 'add.py'], /--prompt/],
    ['no answer to score', ['score', '--prompt', 'a'], /--answer/],
    ['an unknown engine', ['explain', 'add.py', '--engine', 'tpu'], /--engine.*cpu.*'tpu'/],
    ['an unknown weight format', ['explain', 'add.py', '--weights', 'int4'], /--weights.*int8.*'int4'/],
    ['a number that is none', ['explain', 'add.py', '--beams', 'many'], /beams/],
    ['too few tokens', ['explain', 'add.py', '--max-new-tokens', '0'], /max-new-tokens/],
    ['a share above one', ['explain', 'add.py', '--top-p', '1.5'], /top-p/],
    ['beams and sampling', ['explain', 'add.py', '--beams', '2', '--temperature', '1'], /[Bb]eams and sampling/],
    ['lines backwards', ['explain', 'add.py:3-1'], /FROM/],
    ['line zero', ['explain', 'add.py:0-2'], /count from 1/],
    ['half a range', ['explain', 'add.py:2-'], /FILE:FROM-TO/],
    ['standard input twice', ['summarize', '-', '-'], /once/],
    ['nowhere to convert to', ['convert', 'folder'], /--out/],
    ['help for nothing', ['help', 'nothing'], /nothing/],
  ])('exits with 2 and one line for %s', async (_, args, message) => {
    const ran = await home.flan(args);
    expect(ran.stderr).toMatch(message);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toMatch(/^flan: [^\n]+\n$/);
  });

  it.each<[string, string[], RegExp]>([
    ['a missing file', ['explain', 'none.py'], /none\.py does not exist/],
    ['a folder', ['explain', 'folder'], /folder/],
    ['a binary file', ['explain', 'binary.bin'], /binary/],
    ['another encoding', ['explain', 'latin.txt'], /UTF-8/],
    ['an empty file', ['explain', 'empty.txt'], /empty/],
    ['white space', ['summarize', 'blank.txt'], /empty/],
    ['empty standard input', ['explain', '-'], /empty/],
    ['2 MB', ['summarize', 'large.txt'], /too large.*FROM-TO/],
    ['lines after the end', ['explain', 'add.py:40-50'], /3 lines/],
    ['a missing prompt file', ['generate', '--prompt-file', 'none.txt'], /does not exist/],
    ['an empty prompt', ['generate', '--prompt', ' '], /empty/],
    ['an empty answer', ['score', '--prompt', 'a', '--answer', ''], /empty/],
    ['an unknown model', ['explain', 'add.py', '--model', 'gpt'], /no model "gpt".*starter/],
    ['a folder without a model', ['explain', 'add.py', '--model', './folder'], /folder.*config\.json/],
    ['a model folder that is not there', ['explain', 'add.py', '--model', './none'], /no model/],
    ['a folder to pull that is none', ['pull', './none'], /none.*config\.json/],
    ['a checkpoint that is none', ['convert', 'folder', '--out', 'out'], /config\.json/],
  ])('exits with 1 and one line for %s', async (_, args, message) => {
    for (const extra of [[], ['--json']]) {
      const ran = await home.flan([...args, ...extra]);
      expect(ran.stderr).toMatch(message);
      expect(ran).toMatchObject({ code: 1, stdout: '' });
      expect(ran.stderr).toMatch(/^flan: [^\n]+\n$/);
    }
  });

  it('names the data folder when it cannot be used', async () => {
    const ran = await home.flan(['explain', 'add.py'], { env: { FLAN_HOME: join(home.paths.home, 'add.py', 'home') } });
    expect(ran).toMatchObject({ code: 1, stdout: '' });
    expect(ran.stderr).toMatch(/^flan: [^\n]+FLAN_HOME[^\n]+\n$/);
  });
});
