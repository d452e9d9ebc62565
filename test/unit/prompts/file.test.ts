// Files of prompt sets: what is read, what is refused and on which line, and that writing is stable.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import Ajv from 'ajv';
import { describe, expect, it } from 'vitest';
import { UsageError } from '../../../server/errors';
import { PromptSetFileError } from '../../../server/prompts/errors';
import { checkPromptSet, formatPromptSet, parsePromptSet } from '../../../server/prompts/file';
import { gallery } from '../../../server/prompts/gallery';
import { PROMPT_SET_SCHEMA } from '../../../server/prompts/schema';
import { newPromptSet, type PromptSet } from '../../../server/prompts/set';
import { SET } from './support';

const root = join(import.meta.dirname, '..', '..', '..');
const validate = new Ajv({ strict: false }).compile(JSON.parse(PROMPT_SET_SCHEMA));

/** The error of a text. */
function refused(text: string): { line: number; reason: string; message: string } {
  try {
    parsePromptSet(text, 'a.json');
  } catch (error) {
    if (error instanceof PromptSetFileError) return { line: error.line, reason: error.reason, message: error.message };
    throw error;
  }
  throw new Error('was read');
}

describe('a prompt set file', () => {
  it('is read as it was written, and written as it was read', () => {
    const full: PromptSet = {
      ...SET,
      description: 'Two\nlines.',
      options: ['positive', 'negative'],
      generation: { maxNewTokens: 5, votes: 3, temperature: 0.5, seed: 2 },
      examples: [...SET.examples, { input: 'a\n  b\n', output: ' x ', off: true }],
    };
    const text = formatPromptSet(full);
    const { $schema, ...read } = parsePromptSet(text, 'a.json') as PromptSet & { $schema: string };
    expect(read).toEqual(full);
    expect($schema).toBe('../prompt-set.schema.json');
    expect(formatPromptSet(parsePromptSet(text, 'a.json'))).toBe(text);
    expect(text.endsWith('}\n')).toBe(true);
    // A text of several lines is several lines of the file.
    expect(text).toContain('"input": [\n        "a",\n        "  b",\n        ""\n      ]');
  });

  it('keeps fields that it does not know, wherever they are, and puts them before the examples', () => {
    const text = `{"x-team": ["a"], "name": "N", "examples": [{"note": 7, "input": "i", "output": "o"}],
      "form": {"input": "I", "output": "O", "f": 1}, "generation": {"votes": 2, "g": 2}, "$schema": "mine.json"}`;
    const set = parsePromptSet(text, 'a.json');
    const again = JSON.parse(formatPromptSet({ ...set, name: 'M' })) as Record<string, unknown>;
    expect(again).toEqual({
      $schema: 'mine.json',
      version: 1,
      name: 'M',
      instruction: '',
      form: { input: 'I', output: 'O', f: 1 },
      generation: { votes: 2, g: 2 },
      'x-team': ['a'],
      examples: [{ input: 'i', output: 'o', note: 7 }],
    });
    expect(Object.keys(again).at(-1)).toBe('examples');
  });

  it('changes in one place when one thing is edited', () => {
    const before = formatPromptSet(SET).split('\n');
    const examples = SET.examples.map((e, at) => (at === 1 ? { ...e, output: 'bad' } : e));
    const after = formatPromptSet({ ...SET, examples }).split('\n');
    expect(after.filter((line, at) => line !== before[at])).toHaveLength(1);
    expect(after).toHaveLength(before.length);
  });

  it('may have a byte order mark and Windows line ends', () => {
    const text = `\ufeff${formatPromptSet(SET).replaceAll('\n', '\r\n')}`;
    expect(parsePromptSet(text, 'a.json')).toMatchObject(SET);
    expect(parsePromptSet('{"name":"N"}', 'a.json')).toEqual(newPromptSet('N'));
  });

  it.each<[string, string, number, RegExp]>([
    ['nothing', '', 1, /The file is empty/],
    ['a list', '\n[]', 2, /The file is an object/],
    ['a missing comma', '{\n  "name": "a"\n  "form": "qa"\n}', 3, /A comma or } is missing before "form":/],
    ['a comma too many', '{\n  "name": "a",\n}', 3, /comma too many/],
    ['an open end', '{\n  "name": "a"', 2, /before the end of the file/],
    ['an open text', '{\n  "name": "a\n}', 2, /no closing double quote/],
    ['single quotes', "{\n  'name': 1 }", 2, /A name in double quotes belongs here, not 'name':/],
    ['a word', '{ "name": yes }', 1, /yes is no JSON value/],
    ['a comment', '{\n // hello\n }', 2, /double quotes belongs here, not \/\//],
    ['a name given twice', '{\n"name": "a",\n"name": "b" }', 3, /"name" is given twice/],
    ['a merge conflict', '{\n<<<<<<< HEAD\n"name": "a"\n=======\n"name": "b"\n>>>>>>> x\n}', 2, /merge conflict/],
    ['text after the end', '{ "name": "a" }\n{}', 2, /stands after the end/],
    ['endless nesting', `{ "name": ${'['.repeat(200)} }`, 1, /nested too deeply/],
    ['no name', '{\n  "form": "qa" }', 1, /The set has no "name"/],
    ['an empty name', '{\n  "name": " " }', 2, /The name is empty/],
    ['a name of two lines', '{ "name": "a\\nb" }', 1, /one line/],
    ['a newer version', '{\n "name": "a",\n "version": 2 }', 3, /Version 2 .* newer Flan/],
    ['a version that never was', '{ "name": "a", "version": "1" }', 1, /The version is 1\./],
    ['an unknown form', '{ "name": "a",\n "form": "chat" }', 2, /"qa", "io", or an object/],
    ['a form without a label', '{ "name": "a",\n "form": { "input": "I" } }', 2, /The form has no "output"/],
    ['options that are no list', '{ "name": "a",\n "options": "x" }', 2, /list of texts/],
    ['an option that is no text', '{ "name": "a",\n "options": ["x",\n 2] }', 3, /Option 2 is one line of text/],
    ['too few votes', '{ "name": "a",\n "generation": {\n "votes": 1 } }', 3, /"votes" is a whole number from 2 to 40/],
    [
      'a seed that is none',
      '{ "name": "a", "generation": { "seed": 1.5 } }',
      1,
      /"seed" is a whole number of at least 0/,
    ],
    ['examples that are no list', '{ "name": "a",\n "examples": {} }', 2, /The examples are a list/],
    [
      'an example without output',
      '{ "name": "a",\n "examples": [\n{ "input": "i" }] }',
      3,
      /Example 1 has no "output"/,
    ],
    [
      'an input that is no text',
      '{ "name": "a",\n "examples": [{\n "input": 3,\n "output": "" }] }',
      3,
      /Example 1: "input" is a text/,
    ],
    [
      'a line that is no text',
      '{ "name": "a",\n "examples": [{ "output": "",\n "input": ["x",\n 3] }] }',
      4,
      /line 2 of "input"/,
    ],
    [
      'off that is neither',
      '{ "name": "a", "examples": [{ "input": "", "output": "",\n "off": 1 }] }',
      2,
      /"off" of example 1/,
    ],
  ])('with %s is refused by name, line and reason', (_, text, line, reason) => {
    const error = refused(text);
    expect(error.reason).toMatch(reason);
    expect(error.line).toBe(line);
    expect(error.message).toMatch(new RegExp(`^a\\.json, line ${line}: [^\\n]+ the file was not changed\\.$`));
  });

  it('is checked in the same way when it comes from a client', () => {
    expect(checkPromptSet(SET)).toEqual(SET);
    expect(() => checkPromptSet({ ...SET, form: 'chat' })).toThrow(UsageError);
    expect(() => checkPromptSet(null)).toThrow(/not in order: The file is an object/);
  });
});

describe('the published schema', () => {
  it('accepts what the product reads, and refuses what it refuses', () => {
    const sets: unknown[] = [
      ...gallery().map(({ set }) => JSON.parse(formatPromptSet(set))),
      { name: 'a' },
      { name: 'a', instruction: ['x', 'y'], unknown: 1 },
      { name: ' ' },
      { name: 'a\nb' },
      { name: 'a'.repeat(121) },
      {},
      { name: 'a', version: 2 },
      { name: 'a', form: 'chat' },
      { name: 'a', form: { input: 'I' } },
      { name: 'a', form: { input: 'I', output: 'O\n' } },
      { name: 'a', options: ['x', 'y\n'] },
      { name: 'a', options: [] },
      { name: 'a', options: Array.from({ length: 101 }, (_, at) => `${at}`) },
      { name: 'a', generation: { votes: 41 } },
      { name: 'a', generation: { votes: 40, temperature: 5, seed: 0 } },
      { name: 'a', generation: { temperature: 0 } },
      { name: 'a', generation: { maxNewTokens: 8193 } },
      { name: 'a', generation: { beams: 1.5 } },
      { name: 'a', examples: [{ input: ['a'], output: '' }] },
      { name: 'a', examples: [{ input: 'a' }] },
      { name: 'a', examples: [{ input: 'a', output: 'b', off: 'no' }] },
      { name: 'a', examples: [['a', 'b']] },
    ];
    for (const set of sets) {
      const text = JSON.stringify(set);
      let read = true;
      try {
        parsePromptSet(text, 'a.json');
      } catch {
        read = false;
      }
      expect(validate(set), text.slice(0, 200)).toBe(read);
    }
    expect(sets.filter((set) => validate(set)).length).toBeGreaterThan(12);
  });

  it('is contributed for the files of a workspace, and goes into the package', () => {
    const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    const [{ fileMatch, url }] = manifest.contributes.jsonValidation;
    expect(fileMatch).toEqual(['/.flan/prompts/*.json']);
    expect(JSON.parse(readFileSync(join(root, url), 'utf8'))).toEqual(JSON.parse(PROMPT_SET_SCHEMA));
    expect(readFileSync(join(root, '.vscodeignore'), 'utf8')).toContain(`!${url.slice(2)}\n`);
  });
});
