import { describe, expect, it } from 'vitest';
import { UsageError } from '../../../server/errors';
import type { Progress, RunParams } from '../../../server/protocol';
import { UNANSWERABLE_TEXT } from '../../../server/tasks/answer';
import { isProse, languageName } from '../../../server/tasks/languages';
import type { TaskModel } from '../../../server/tasks/model';
import { profileFor } from '../../../server/tasks/profiles';
import { PromptTooLongError } from '../../../server/tasks/prompt';
import { endlessRepetition } from '../../../server/tasks/repetition';
import { runTask } from '../../../server/tasks/run';
import { runScore } from '../../../server/tasks/score';
import type { TextCodec } from '../../../server/text/codec';
import { EmptyInputError } from '../../../server/text/input';
import { EOS, fixedTable, logSoftmax, START, TableEngine, tableConfig } from '../generate/table-engine';
import { starterCodec, webCodec } from '../text/tokenizers';

const starter = starterCodec();
const web = webCodec();
const VOCAB = 16_000;

/** A model that answers `answer` to everything. */
function modelOf(answer: readonly number[], codec: TextCodec = starter, name = 'starter') {
  const engine = new TableEngine(VOCAB, fixedTable(VOCAB, answer));
  const model: TaskModel = {
    name,
    engine,
    codec,
    profile: profileFor(name, tableConfig(VOCAB)),
    demo: name === 'starter',
    weights: 'int8',
    loadMs: 12,
  };
  return { model, engine };
}

async function run(
  answer: string | readonly number[],
  params: RunParams,
  codec = starter,
  name = 'starter',
  signal?: { stopped: boolean },
) {
  const ids = typeof answer === 'string' ? codec.encode(answer) : answer;
  const { model, engine } = modelOf(ids, codec, name);
  const progress: Progress[] = [];
  const result = await runTask(model, params, { onProgress: (p) => progress.push(p), signal });
  const streamed = progress.map((p) => (p.kind === 'text' ? p.append : '')).join('');
  expect(engine.open).toBe(0);
  return { result, progress, streamed, prompt: codec.decode(result.promptIds), engine };
}

const CODE = 'function add(a, b) {\n  return a + b;\n}\n';

describe('explain', () => {
  it('asks in the words that the model knows, and streams exactly the answer', async () => {
    const { result, progress, streamed, prompt } = await run('Adds two numbers.', {
      task: 'explain',
      text: CODE,
      languageId: 'javascript',
      firstLine: 40,
    });
    expect(prompt).toBe(
      'Explain what the following JavaScript code does. function add(a, b) { return a + b; } Explanation:',
    );
    expect(result).toMatchObject({
      text: 'Adds two numbers.',
      ids: starter.encode('Adds two numbers.'),
      finishReason: 'stop',
      engine: 'cpu',
      device: 'a table',
      model: 'starter',
      weights: 'int8',
      demo: true,
      unanswerable: false,
      read: { complete: true, fromLine: 40, toLine: 42, lastLine: 42, window: 2048 },
      substitutions: [{ char: '\n', as: ' ', count: 2 }],
    });
    expect(result).not.toHaveProperty('repeated');
    expect(result.timings.loadMs).toBe(12);
    expect(streamed).toBe(result.text);
    expect(progress[0]).toEqual({
      kind: 'encoding',
      tokens: result.promptIds.length,
      device: 'a table',
      model: 'starter',
    });
  });

  it('reads files of Windows as those of others', async () => {
    const a = await run('x', {
      task: 'explain',
      text: `\ufeff${CODE.replaceAll('\n', '\r\n')}`,
      languageId: 'javascript',
    });
    const b = await run('x', { task: 'explain', text: CODE, languageId: 'javascript' });
    expect(a.result.promptIds).toEqual(b.result.promptIds);
    expect(a.result.read).toEqual(b.result.read);
  });

  it('writes what the vocabulary lacks with stand-ins, and shows the answer with the real characters', async () => {
    const answer = web.encode('Returns [[a + b]] if a &lt; b.');
    const { result, streamed, prompt } = await run(
      answer,
      { task: 'explain', text: CODE.replace('return', 'if (a < b) return'), languageId: 'javascript' },
      web,
      'flan-ul2',
    );
    expect(prompt).toContain('function add(a, b) [[ if (a &lt; b) return a + b; ]]');
    expect(result.text).toBe('Returns {a + b} if a < b.');
    expect(streamed).toBe(result.text);
    expect(result.demo).toBe(false);
    expect(result.substitutions).toEqual(
      expect.arrayContaining([
        { char: '{', as: '[[', count: 1 },
        { char: '}', as: ']]', count: 1 },
        { char: '<', as: '&lt;', count: 1 },
      ]),
    );
  });

  it('never shows special tokens', async () => {
    const { result, streamed } = await run([0, ...starter.encodePlain('Adds two'), 15_999, 0, 0, EOS], {
      task: 'explain',
      text: CODE,
    });
    expect(result.text).toBe('Adds two');
    expect(streamed).toBe('Adds two');
  });
});

describe('ask', () => {
  const ask = (question?: string): RunParams => ({
    task: 'ask',
    text: 'The port is 8080.',
    languageId: 'plaintext',
    ...(question === undefined ? {} : { question }),
  });

  it('puts the question behind the text', async () => {
    const { result, prompt } = await run('8080', ask(' Which port? '));
    expect(prompt).toBe('The port is 8080. Question: Which port? Answer:');
    expect(result).toMatchObject({ text: '8080', unanswerable: false });
  });

  it('needs a question', async () => {
    await expect(run('8080', ask())).rejects.toThrow(UsageError);
    await expect(run('8080', ask('  '))).rejects.toThrow(/say what you want to know/);
  });

  for (const word of ['unanswerable', 'Unanswerable.', '"unanswerable"']) {
    it(`says in a sentence that the text does not say, and never shows ${word}`, async () => {
      const { result, progress, streamed } = await run(word, ask('Which host?'));
      expect(result).toMatchObject({ text: UNANSWERABLE_TEXT, unanswerable: true });
      expect(starter.decode(result.ids)).toBe(word);
      expect(streamed).toBe(UNANSWERABLE_TEXT);
      expect(JSON.stringify(progress)).not.toMatch(/unans/i);
    });
  }

  it('shows an answer that only begins like it', async () => {
    for (const answer of ['unanswered requests are dropped', 'un', 'Unanswerable questions are skipped by the tool.']) {
      const { result, streamed } = await run(answer, ask('What happens?'));
      expect(result).toMatchObject({ text: answer, unanswerable: false });
      expect(streamed).toBe(answer);
    }
  });

  it('is not taken for unanswerable where the model was not trained to say so', async () => {
    expect((await run('unanswerable', ask('Why?'), starter, 't5-small')).result).toMatchObject({
      text: 'unanswerable',
      unanswerable: false,
    });
  });
});

describe('generate', () => {
  it('adds nothing to the prompt and takes nothing from it', async () => {
    const text = '  Translate: {a}\r\nplease <extra_id_0>  ';
    const { result } = await run('done', { task: 'generate', text });
    expect(result.promptIds).toEqual(starter.encode(text));
    expect(result.promptIds).toContain(15_999);
    expect(result.substitutions).toEqual([]);
  });

  it('says which characters were lost, and substitutes none', async () => {
    const { result } = await run('done', { task: 'generate', text: 'a {b}' }, web, 'flan-t5-base');
    expect(result.promptIds).toEqual(web.encode('a {b}'));
    expect(result.substitutions).toEqual([
      { char: '{', as: null, count: 1 },
      { char: '}', as: null, count: 1 },
    ]);
  });

  it('takes a prompt over the window whole, and refuses one that is far over it', async () => {
    const { result } = await run('done', { task: 'generate', text: 'word '.repeat(3000) });
    expect(result.promptIds).toHaveLength(3001);
    expect(result.read).toMatchObject({ complete: true, promptTokens: 3001, window: 2048 });
    await expect(run('done', { task: 'generate', text: 'word '.repeat(5000) })).rejects.toThrow(PromptTooLongError);
  });

  it('is not stopped for repeating itself', async () => {
    const loop = Array.from({ length: 80 }, (_, i) => 100 + (i % 3));
    const { result } = await run(loop, { task: 'generate', text: 'go', maxNewTokens: 30 });
    expect(result.ids).toHaveLength(30);
    expect(result).not.toHaveProperty('repeated');
  });
});

describe('any task', () => {
  it('refuses empty text before the model is asked anything', async () => {
    const { model, engine } = modelOf([EOS]);
    await expect(runTask(model, { task: 'summarize', text: ' \n' })).rejects.toThrow(EmptyInputError);
    await expect(runTask(model, { task: 'summarize', text: 'x', beams: 0 })).rejects.toThrow(UsageError);
    expect(engine.prompts).toEqual([]);
  });

  it('keeps the text so far when stopped', async () => {
    const signal = { stopped: false };
    const ids = starter.encode('one two three four five six');
    const { model, engine } = modelOf(ids);
    engine.onStep = (step) => {
      signal.stopped = step === 2;
    };
    const result = await runTask(model, { task: 'summarize', text: 'x' }, { signal });
    expect(result).toMatchObject({
      finishReason: 'cancelled',
      ids: ids.slice(0, 3),
      text: starter.decode(ids.slice(0, 3)),
    });
    expect(engine.open).toBe(0);
  });

  it('has an empty answer when stopped before the first token', async () => {
    const { result, streamed } = await run('x', { task: 'ask', text: 'x', question: 'x?' }, starter, 'starter', {
      stopped: true,
    });
    expect(result).toMatchObject({ text: '', ids: [], finishReason: 'cancelled', unanswerable: false });
    expect(result.promptIds.length).toBeGreaterThan(0);
    expect(streamed).toBe('');
  });

  it('ends at the limit', async () => {
    const { result } = await run('one two three four', { task: 'summarize', text: 'x', maxNewTokens: 2 });
    expect(result).toMatchObject({ finishReason: 'length', text: starter.decode(result.ids) });
    expect(result.ids).toHaveLength(2);
  });

  it('ends a loop, keeps what was said, and says that it did', async () => {
    const sentence = starter.encodePlain('calls the handler of the handler');
    const ids = [...starter.encodePlain('This function'), ...Array.from({ length: 40 }, () => sentence).flat()];
    const { result, streamed } = await run(ids, { task: 'explain', text: CODE });
    expect(result).toMatchObject({ finishReason: 'length', repeated: true });
    expect(result.ids.length).toBeLessThan(6 * sentence.length);
    expect(result.ids).toEqual(ids.slice(0, result.ids.length));
    expect(streamed).toBe(result.text);
  });

  it('tells the seed of a sampled answer', async () => {
    const params: RunParams = { task: 'summarize', text: 'x', temperature: 0.5, maxNewTokens: 1 };
    const { result } = await run('a b', params);
    expect(result.seed).toEqual(expect.any(Number));
    expect((await run('a b', { ...params, seed: 9 })).result.seed).toBe(9);
    expect((await run('a b', { task: 'summarize', text: 'x' })).result).not.toHaveProperty('seed');
  });

  it('gives the same answer with drafts', async () => {
    const text = 'the quick brown fox jumps over the lazy dog and runs away from it';
    const ids = starter.encode(text);
    const plain = await runTask(modelOf(ids).model, { task: 'summarize', text });
    const drafted = modelOf(ids);
    const result = await runTask(drafted.model, { task: 'summarize', text }, { draft: 8 });
    expect(result).toMatchObject({ text: plain.text, ids: plain.ids, finishReason: plain.finishReason });
    expect(drafted.engine.steps).toBeLessThan(plain.ids.length);
  });
});

describe('score', () => {
  it('gives each token of the answer, the end token included', async () => {
    const answer = starter.encode('Adds two numbers.');
    const { model, engine } = modelOf(answer);
    const result = await runScore(model, { prompt: 'What?', answer: 'Adds two values.' });
    expect(result.ids).toEqual(starter.encode('Adds two values.'));
    expect(result.tokens.map((t) => t.id)).toEqual(result.ids);
    expect(result.tokens.at(-1)?.text).toBe('</s>');
    const table = engine.table;
    const expected = result.ids.map((id, i) => logSoftmax(table([], [START, ...result.ids.slice(0, i)]))[id] ?? 0);
    for (const [i, token] of result.tokens.entries()) expect(token.logprob).toBeCloseTo(expected[i] ?? 0, 4);
    expect(result.logprob).toBeCloseTo(
      expected.reduce((a, b) => a + b),
      3,
    );
    expect(engine.open).toBe(0);
  });

  it('refuses an empty answer', async () => {
    await expect(runScore(modelOf([EOS]).model, { prompt: 'x', answer: ' ' })).rejects.toThrow(UsageError);
  });
});

describe('profiles', () => {
  const gated = { gated: true, modelType: 't5' };
  const plain = { gated: false, modelType: 't5' };

  it('are chosen by name, then by architecture', () => {
    for (const [name, config, family] of [
      ['starter', gated, 'starter'],
      ['/home/me/models/starter', gated, 'starter'],
      ['google/flan-ul2', gated, 'flan'],
      ['flan-t5-small', gated, 'flan'],
      ['google/ul2', gated, 'ul2'],
      ['Salesforce/codet5-base-multi-sum', plain, 'code-summary'],
      ['t5-small', plain, 't5'],
      ['google-t5/t5-large', plain, 't5'],
      ['my-finetune', gated, 'instruct'],
      ['C:\\models\\my-finetune', plain, 't5'],
    ] as const) {
      expect(profileFor(name, config).family, name).toBe(family);
    }
  });

  it('give UL2 the mode token of the task, or the one that was chosen, and a gap to fill at the end', () => {
    const ul2 = profileFor('google/ul2', gated);
    const subject = { language: 'Go', prose: false, question: 'Why so?' };
    expect(ul2.frame('ask', subject)).toEqual({
      before: '[NLU] ',
      after: '\n\nQuestion: Why so?\n\nAnswer: ',
      end: '<extra_id_0>',
    });
    expect(ul2.frame('summarize', subject).before).toBe('[NLG] ');
    expect(ul2.frame('explain', { ...subject, mode: 'auto' }).before).toBe('[NLG] ');
    expect(ul2.frame('explain', { ...subject, mode: 'S2S' }).before).toBe('[S2S] ');
    expect(ul2.frame('ask', { ...subject, mode: 'none' }).before).toBe('');
    // Others have none, whatever is chosen.
    for (const name of ['google/flan-ul2', 'google-t5/t5-base', 'Salesforce/codet5-base-multi-sum', 'other']) {
      const { before, after, end } = profileFor(name, gated).frame('ask', { ...subject, mode: 'NLU' });
      expect(`${before}${after}${end ?? ''}`, name).not.toMatch(/\[NL|extra_id/);
    }
  });

  it('give T5 its own prefixes, and raw code to the model that was trained on raw code', () => {
    const subject = { language: 'Go', prose: false, question: 'Why so?' };
    const frame = (name: string, task: 'explain' | 'summarize' | 'ask') => profileFor(name, plain).frame(task, subject);
    expect(frame('google-t5/t5-base', 'summarize')).toEqual({ before: 'summarize: ', after: '' });
    expect(frame('google-t5/t5-base', 'ask')).toEqual({ before: 'question: Why so? context: ', after: '' });
    expect(frame('codet5-base-multi-sum', 'explain')).toEqual({ before: '', after: '' });
  });

  it('leave the text whole in every frame', () => {
    for (const name of ['starter', 'flan-ul2', 'ul2', 't5-small', 'codet5', 'other']) {
      for (const task of ['explain', 'summarize', 'ask'] as const) {
        for (const prose of [true, false]) {
          const { before, after } = profileFor(name, gated).frame(task, { language: 'Go', prose, question: 'Why so?' });
          expect(before + after).not.toMatch(/undefined/);
          if (task === 'ask') expect(before + after).toContain('Why so?');
        }
      }
    }
  });
});

describe('languages', () => {
  it('have the names that people write', () => {
    expect(['python', 'cpp', 'csharp', 'shellscript', 'typescriptreact'].map(languageName)).toEqual([
      'Python',
      'C++',
      'C#',
      'shell',
      'TypeScript',
    ]);
    expect(languageName('nobody-knows')).toBeUndefined();
  });

  it('are text or code by their id', () => {
    expect(['markdown', 'python', 'nobody-knows'].map((id) => isProse(id, 'x'))).toEqual([true, false, false]);
  });

  const code = {
    python: 'def fib(n):\n    a, b = 0, 1\n    for _ in range(n):\n        a, b = b, a + b\n    return a\n',
    go: 'func add(a, b int) int {\n\treturn a + b\n}\n',
    c: '#include <stdio.h>\n\nint main(void) {\n  puts("hi");\n  return 0;\n}\n',
    one: 'const add = (a, b) => a + b;',
    shell: 'for f in *.log; do\n  gzip "$f";\ndone\nX=1',
    sql: 'SELECT a, b\nFROM t\nWHERE a = 1;',
  };
  const prose = [
    'The city council voted on Tuesday to close Main Street.\nShop owners were divided: some fear losing customers.',
    '# Installing\n\nDownload the archive. Add the `bin` folder to your PATH.\n\n- one\n- two\n',
    'Dear all,\n\nplease find attached the report (see page 3).\n\nBest,\nAnn',
    'for a long time nobody knew why.\nif you see this, call me.\nreturn the book to the library.',
    'Error: disk full',
  ];
  for (const languageId of ['plaintext', undefined]) {
    it(`are told from prose where there is ${languageId ?? 'no id'}`, () => {
      for (const [name, text] of Object.entries(code)) {
        expect(isProse(languageId, text), name).toBe(false);
      }
      for (const text of prose) expect(isProse(languageId, text), text).toBe(true);
    });
  }
});

describe('endless repetition', () => {
  const repeat = (pattern: number[], times: number) => Array.from({ length: times }, () => pattern).flat();

  it('is a run of tokens again and again', () => {
    expect(endlessRepetition([9, 8, 7, ...repeat([1, 2, 3, 4], 4)])).toBe(true);
    expect(endlessRepetition([9, ...repeat([5], 16)])).toBe(true);
    expect(
      endlessRepetition(
        repeat(
          Array.from({ length: 40 }, (_, i) => i),
          4,
        ),
      ),
    ).toBe(true);
  });

  it('is not a list, a short run, or a text', () => {
    expect(endlessRepetition([9, 8, 7, ...repeat([1, 2, 3, 4], 3)])).toBe(false);
    expect(endlessRepetition(repeat([5], 15))).toBe(false);
    expect(endlessRepetition([1, 2, 10, 1, 2, 11, 1, 2, 12, 1, 2, 13, 1, 2, 14, 1, 2, 15])).toBe(false);
    expect(endlessRepetition([])).toBe(false);
  });
});
