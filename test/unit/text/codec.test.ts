import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Tokenizer } from '@huggingface/tokenizers';
import { afterAll, describe, expect, it } from 'vitest';
import { TextCodec, TokenizerError } from '../../../server/text/codec';
import { byteJson, starterCodec, starterJson, webJson } from './tokenizers';

const starter = starterCodec();

/** Text as files have it: code, prose, indentation, blank lines, other scripts; the same for the same `seed`. */
function sampleText(seed: number, length: number): string {
  const words = [
    'def',
    'return',
    'value',
    'x_1',
    '(a,',
    'b):',
    '{',
    '}',
    'naïve',
    '日本語',
    '🙂',
    '"quoted"',
    'https://a.b/c?d=1',
    '==',
    'The',
    'cat.',
    '1234',
    '\u00a0',
    'ﬁn',
  ];
  const gaps = [' ', ' ', ' ', '\n', '\n    ', '\n\n', '\t', '  ', '\r\n'];
  let state = seed;
  const next = (n: number) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return (state >>> 8) % n;
  };
  let text = '';
  while (text.length < length) text += `${words[next(words.length)]}${gaps[next(gaps.length)]}`;
  return text;
}

describe('encoding', () => {
  for (const [name, json] of [
    ['the starter', starterJson()],
    ["T5's form", webJson()],
    ["T5's newer form", webJson(undefined, 'newer')],
    ['a byte-level one', byteJson()],
  ] as const) {
    it(`gives the ids of one call of the library, word by word: ${name}`, () => {
      const library = new Tokenizer(json, {});
      const codec = TextCodec.fromJson(json);
      for (let seed = 1; seed < 4; seed++) {
        const text = sampleText(seed, 13_000);
        expect(codec.encode(text)).toEqual(library.encode(text).ids);
        expect(codec.encodePlain(text)).toEqual(library.encode(text, { add_special_tokens: false }).ids);
      }
    });
  }

  it('splits words whose splits are tied as the reference does, wherever they stand', () => {
    // Recorded with the `tokenizers` library 0.23: in one call of the JavaScript library the text before would decide.
    const expected = ['▁```', '``', '`', '▁#'];
    for (const before of ['', 'Install it with npm. '.repeat(40)]) {
      const ids = starter.encodePlain(`${before}\`\`\`\`\`\`\n# x`);
      expect(ids.slice(-5, -1).map((id) => starter.piece(id))).toEqual(expected);
    }
  });

  it('takes half a megabyte without overflowing the stack', () => {
    const text = sampleText(5, 500_000);
    const ids = starter.encode(text);
    expect(ids.length).toBeGreaterThan(150_000);
    expect(starter.decode(ids.slice(0, 500))).toContain('return');
  });

  it('takes one word of 150,000 characters', () => {
    expect(starter.encode('x1'.repeat(75_000)).length).toBeGreaterThan(1000);
    expect(starter.encode(`a${'🙂'.repeat(20_000)}`).at(-1)).toBe(1);
  });

  it('adds the end token, also to nothing', () => {
    expect(starter.encode('')).toEqual([1]);
    expect(starter.encode('a').at(-1)).toBe(1);
    expect(starter.encodePlain('')).toEqual([]);
  });
});

describe('decoding', () => {
  it('leaves out special tokens and cleans nothing up', () => {
    const text = "print ( a , b ) . don ' t ! f ( x ) ?";
    expect(starter.decode([0, ...starter.encode(text), 0, 0])).toBe(text);
    expect(starter.decode([])).toBe('');
    expect(starter.decode([0, 1])).toBe('');
    expect(starter.decode(Int32Array.from(starter.encode('typed arrays too')))).toBe('typed arrays too');
  });

  it('never shows an id that the vocabulary lacks', () => {
    expect(starter.decode([...starter.encodePlain('word'), 31_999])).toBe('word');
  });
});

describe('opening a folder', () => {
  const dir = mkdtempSync(join(tmpdir(), 'flan-codec-'));
  afterAll(() => rmSync(dir, { recursive: true }));
  const file = join(dir, 'tokenizer.json');

  it('says what is wrong and what to do', async () => {
    await expect(TextCodec.open(dir)).rejects.toThrow(
      /needs tokenizer.json, spiece.model, or vocab.json with merges.txt/,
    );
    writeFileSync(join(dir, 'spiece.model'), '');
    await expect(TextCodec.open(dir)).rejects.toThrow(/spiece.model cannot be used: it has no pieces/);
    for (const [content, message] of [
      ['{"model":', /not valid JSON/],
      ['[]', /not a JSON object/],
      ['{}', /has no vocabulary/],
      ['{"model":{"type":"Unigram","vocab":[["a",0]]}}', /cannot be used/],
    ] as const) {
      writeFileSync(file, content);
      await expect(TextCodec.open(dir)).rejects.toThrow(TokenizerError);
      await expect(TextCodec.open(dir)).rejects.toThrow(message);
    }
  });

  it('works without a tokenizer_config.json, and refuses a broken one', async () => {
    writeFileSync(file, JSON.stringify(starterJson()));
    const codec = await TextCodec.open(dir);
    expect(codec.encode('Hello there')).toEqual(starter.encode('Hello there'));
    writeFileSync(join(dir, 'tokenizer_config.json'), '{');
    await expect(TextCodec.open(dir)).rejects.toThrow(/tokenizer_config.json is not valid JSON/);
  });
});
