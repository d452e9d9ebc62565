/** The command line as other programs and people meet it: exit codes, what is on which stream, and every error's one line. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunResult, ScoreResult } from '../../server/protocol';
import { isAlive } from '../../server/rpc/lock';
import { finished, Home, STARTER, until } from './harness';

const CODE = 'def add(a, b):\n    """Adds."""\n    return a + b\n';
const LINES = Array.from({ length: 30 }, (_, i) => `Line ${i + 1} tells about the number ${i + 1}.`).join('\n');
/** Never ends by itself: see requests.test.ts. */
const ENDLESS = ['generate', '--prompt', 'Write.', '--max-new-tokens', '4096', '--temperature', '50', '--seed', '7'];

let home: Home;
beforeAll(() => {
  home = Home.create();
  const file = (name: string, content: string | Buffer) => writeFileSync(join(home.paths.home, name), content);
  file('add.py', CODE);
  file('lines.txt', LINES);
  file('empty.txt', '');
  file('blank.txt', ' \n\n\t\n');
  file('binary.bin', Buffer.from([1, 2, 0, 3, 4]));
  file('latin.txt', Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x0a]));
  file('utf16.txt', Buffer.from('\ufeffUne note assez courte.', 'utf16le'));
  file('large.txt', 'All work and no play.\n'.repeat(100_000));
  file('odd:1-2', 'A file with an odd name.');
  mkdirSync(join(home.paths.home, 'folder'));
});
afterAll(() => home.cleanup());

/** Copies a small checkpoint with a larger vocabulary, all of it zeros. */
function enlarge(from: string, to: string, vocabSize: number): void {
  mkdirSync(to);
  const config = json<Record<string, unknown>>(readFileSync(join(from, 'config.json'), 'utf8'));
  writeFileSync(join(to, 'config.json'), JSON.stringify({ ...config, vocab_size: vocabSize }));
  const bytes = readFileSync(join(from, 'model.safetensors'));
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = json<Record<string, { shape: number[]; data_offsets: number[] }>>(bytes.toString('utf8', 8, start));
  const pieces: Buffer[] = [];
  let offset = 0;
  for (const [name, tensor] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin = 0, end = 0] = tensor.data_offsets;
    const large = tensor.shape[0] === config['vocab_size'];
    if (large) tensor.shape[0] = vocabSize;
    const piece = large
      ? Buffer.alloc(tensor.shape.reduce((a, b) => a * b) * 2)
      : bytes.subarray(start + begin, start + end);
    tensor.data_offsets = [offset, offset + piece.length];
    offset += piece.length;
    pieces.push(piece);
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(join(to, 'model.safetensors'), Buffer.concat([length, text, ...pieces]));
}

const json = <T>(text: string): T => JSON.parse(text) as T;

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
      'convert',
      'models',
      'pull',
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
    ['beams and sampling', ['explain', 'add.py', '--beams', '2', '--temperature', '1'], /beams and sampling/],
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
    ['an unknown model', ['explain', 'add.py', '--model', 'gpt'], /no model 'gpt'.*starter/],
    ['a folder without a model', ['explain', 'add.py', '--model', './folder'], /folder.*config\.json/],
    ['a model folder that is not there', ['explain', 'add.py', '--model', './none'], /no model/],
    ['pull', ['pull', 'google/flan-ul2'], /flan convert/],
    ['a checkpoint that is none', ['convert', 'folder', '--out', 'out'], /config\.json/],
  ])('exits with 1 and one line for %s', async (_, args, message) => {
    for (const extra of [[], ['--json']]) {
      const ran = await home.flan([...args, ...extra]);
      expect(ran.stderr).toMatch(message);
      expect(ran).toMatchObject({ code: 1, stdout: '' });
      expect(ran.stderr).toMatch(/^flan: [^\n]+\n$/);
    }
  });
});

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
    const [, to] = /Read lines 1-(\d+) of long\.txt/.exec(ran.stderr) ?? [];
    const { read } = json<RunResult>((await home.flan(['summarize', 'long.txt', '--json'])).stdout);
    expect(Number(to)).toBe(read.toLine);
    expect(read).toMatchObject({ complete: false, lastLine: 600 });
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

describe.skipIf(process.platform === 'win32')('Ctrl-C', () => {
  it('stops at the next token and exits cleanly with what there is', async () => {
    const child = home.start(ENDLESS);
    const done = finished(child);
    let length = 0;
    child.stdout.on('data', (text: string) => {
      length += text.length;
    });
    expect(await until(() => length > 20)).toBe(true);
    const at = performance.now();
    child.kill('SIGINT');
    const ran = await done;
    expect(performance.now() - at).toBeLessThan(2000);
    expect(ran.code).toBe(0);
    expect(ran.stdout.length).toBeGreaterThan(20);
    expect(ran.stdout.endsWith('\n')).toBe(true);
    expect(ran.stderr).toMatch(/^Stopped\.$/m);
    expect(home.pid !== undefined && isAlive(home.pid)).toBe(true);
  });

  it('with --json prints the cancelled object', async () => {
    const child = home.start([...ENDLESS, '--json']);
    const done = finished(child);
    expect(
      await until(
        async () => json<{ state?: string }>((await home.flan(['status', '--json'])).stdout).state === 'busy',
      ),
    ).toBe(true);
    child.kill('SIGINT');
    const ran = await done;
    expect(ran.code).toBe(0);
    expect(json<RunResult>(ran.stdout).finishReason).toBe('cancelled');
  });

  it('a second time ends the program, even when the server hangs', async () => {
    await home.flan(['explain', 'add.py']);
    const { pid } = home;
    if (pid === undefined) throw new Error('no server');
    const child = home.start(ENDLESS);
    const done = finished(child);
    let length = 0;
    child.stdout.on('data', (text: string) => {
      length += text.length;
    });
    expect(await until(() => length > 0)).toBe(true);
    process.kill(pid, 'SIGSTOP');
    try {
      child.kill('SIGINT');
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(child.exitCode).toBeNull();
      child.kill('SIGINT');
      expect((await done).code).toBe(130);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });
});

describe('the server', () => {
  it('is asked about and stopped; neither starts one', async () => {
    const own = Home.create();
    try {
      expect(json(await own.flan(['status', '--json']).then((ran) => ran.stdout))).toEqual({ running: false });
      expect((await own.flan(['status'])).stdout).toMatch(/No server/);
      expect((await own.flan(['stop'])).stdout).toMatch(/No server/);
      expect((await own.flan(['models'])).code).toBe(0);
      expect(own.pid).toBeUndefined();
      await own.flan(['explain', '-'], { input: CODE });
      const { pid } = own;
      const status = json<{ pid: number }>((await own.flan(['status', '--json'])).stdout);
      expect(status).toMatchObject({ running: true, pid, state: 'ready', clients: 0, model: 'starter' });
      expect((await own.flan(['status'])).stdout).toMatch(/Loaded: starter/);
      const stopped = await own.flan(['stop', '--json']);
      expect(json(stopped.stdout)).toEqual({ stopped: true, pid });
      expect(isAlive(status.pid)).toBe(false);
      expect(json((await own.flan(['stop', '--json'])).stdout)).toEqual({ stopped: false });
    } finally {
      await own.cleanup();
    }
  });

  it.skipIf(process.platform === 'win32')(
    'is missed by name when it is killed in the middle, and the next command starts another',
    async () => {
      const child = home.start(ENDLESS);
      const done = finished(child);
      let length = 0;
      child.stdout.on('data', (text: string) => {
        length += text.length;
      });
      expect(await until(() => length > 0)).toBe(true);
      const { pid } = home;
      if (pid === undefined) throw new Error('no server');
      process.kill(pid, 'SIGKILL');
      const ran = await done;
      expect(ran.code).toBe(1);
      expect(ran.stderr).toMatch(/flan: The flan server ended before it answered.*server\.log\n$/);
      const next = await home.flan(['explain', 'add.py']);
      expect(next.code).toBe(0);
      expect(home.pid).not.toBe(pid);
    },
  );
});

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
    const original = join(import.meta.dirname, '..', 'fixtures', 'checkpoints', 'gelu-untied');
    const before = json<{ form: string }>((await home.flan(['doctor', '--model', original, '--json'])).stdout);
    expect(before.form).toBe('original');
    const out = join(home.paths.home, 'converted');
    const ran = await home.flan(['convert', original, '--out', out]);
    expect(ran).toMatchObject({ code: 0, stdout: `${out}\n` });
    expect(ran.stderr).toMatch(/tokenizer\.json is missing/);
    const after = await home.flan(['doctor', '--model', out]);
    expect(after.stdout).toMatch(/pre-quantized/);
    expect(after.stdout).toMatch(/SHA-256 is right/);
    const refused = await home.flan(['convert', original, '--out', home.paths.home]);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toMatch(/^flan: [^\n]+ is left as it is[^\n]+\n$/);
    expect((await home.flan(['explain', 'add.py', '--model', out])).stderr).toMatch(/tokenizer\.json/);
  });

  it.skipIf(process.platform === 'win32')('leaves nothing half made when a conversion is interrupted', async () => {
    // Large enough to be caught in the middle: two matrices of 48 MB each.
    const big = join(home.paths.home, 'big');
    const fixture = join(import.meta.dirname, '..', 'fixtures', 'checkpoints', 'gelu-untied');
    enlarge(fixture, big, 500_000);
    const out = join(home.paths.home, 'big-int8');
    const child = home.start(['convert', 'big', '--out', out]);
    const done = finished(child);
    expect(await until(() => readdirSync(home.paths.home).some((name) => name.startsWith('big-int8.')))).toBe(true);
    child.kill('SIGINT');
    const ran = await done;
    expect(ran).toMatchObject({ code: 1, stdout: '', stderr: 'flan: Stopped.\n' });
    expect(readdirSync(home.paths.home).filter((name) => name.startsWith('big-int8'))).toEqual([]);
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
