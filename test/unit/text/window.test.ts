import { describe, expect, it } from 'vitest';
import { BinaryInputError, checkInput, EmptyInputError, InputTooLargeError } from '../../../server/text/input';
import { Substituter } from '../../../server/text/substitute';
import { fitPrompt, QuestionTooLongError } from '../../../server/text/window';
import { starterCodec, webCodec } from './tokenizers';

const starter = starterCodec();
const frame = { before: 'Summarize the following text.\n\n', after: '\n\nSummary:' };
const line = (i: number) => `    total_${i} = total_${i - 1} + rows[${i}].price * ${i};`;
const code = (n: number) => Array.from({ length: n }, (_, i) => line(i)).join('\n');

function fitted(text: string, window: number, codec = starter, firstLine = 1, f = frame) {
  return fitPrompt(f, text, { codec, substituter: new Substituter(codec), policy: 'fold', window, firstLine });
}

describe('a text that fits', () => {
  it('is read whole, between the words of the template', () => {
    const text = code(5);
    const { ids, read } = fitted(text, 2048, starter, 7);
    expect(ids).toEqual(starter.encode(`${frame.before}${text}${frame.after}`));
    expect(read).toEqual({
      complete: true,
      fromLine: 7,
      toLine: 11,
      lastLine: 11,
      promptTokens: ids.length,
      window: 2048,
    });
  });

  it('does not count the empty line after a last new line', () => {
    expect(fitted('one\ntwo\n', 512).read).toMatchObject({ toLine: 2, lastLine: 2 });
  });
});

describe('marked lines', () => {
  it('are those of the text, not those of the template', () => {
    const options = {
      codec: starter,
      substituter: new Substituter(starter),
      policy: 'mark',
      window: 512,
      firstLine: 1,
    } as const;
    const { ids, plan } = fitPrompt(frame, 'one\ntwo', options);
    expect(starter.decode(ids)).toBe('Summarize the following text. one <br> two Summary:');
    expect(plan.substitutions).toEqual([{ char: '\n', as: '<br>', count: 1 }]);
  });
});

describe('the beginning of a text', () => {
  const options = { codec: starter, substituter: new Substituter(starter), policy: 'fold', window: 512 } as const;

  it('is never all of it, even where it fits', () => {
    const { read } = fitPrompt(frame, 'one\ntwo', { ...options, firstLine: 5, lastLine: 900 });
    expect(read).toMatchObject({ complete: false, fromLine: 5, toLine: 6, lastLine: 900 });
  });

  it('is cut as any other', () => {
    const { read } = fitPrompt(frame, code(200), { ...options, firstLine: 1, lastLine: 900 });
    expect(read).toEqual({ ...fitted(code(200), 512).read, lastLine: 900 });
  });
});

describe('a text over the window', () => {
  for (const window of [100, 512, 2048]) {
    it(`is cut at a line boundary, template intact, and says so: ${window} tokens`, () => {
      const text = code(900);
      const { ids, read } = fitted(text, window, starter, 11);
      expect(ids.length).toBeLessThanOrEqual(window);
      expect(read).toMatchObject({ complete: false, fromLine: 11, lastLine: 910, promptTokens: ids.length, window });
      const lines = read.toLine - read.fromLine + 1;
      const part = text.split('\n').slice(0, lines).join('\n');
      expect(ids).toEqual(starter.encode(`${frame.before}${part}${frame.after}`));
      // One line more would not have fitted.
      const more = text
        .split('\n')
        .slice(0, lines + 1)
        .join('\n');
      expect(starter.encode(`${frame.before}${more}${frame.after}`).length).toBeGreaterThan(window);
    });
  }

  it('is cut with the stand-ins of the part that was read', () => {
    const web = webCodec();
    const text = `${code(200)}\nconst a = { b: [[1]] };\n// 🙂`;
    const { ids, plan } = fitted(text, 512, web);
    expect(ids.length).toBeLessThanOrEqual(512);
    expect(plan.substitutions.map((s) => s.char)).toEqual(['\n']);
  });

  it('of one giant line is cut inside it, at a word', () => {
    const text = `// head\n${'lorem ipsum dolor sit amet '.repeat(2000)}`;
    const { ids, read } = fitted(text, 256);
    expect(ids.length).toBeLessThanOrEqual(256);
    expect(ids.length).toBeGreaterThan(240);
    expect(read).toMatchObject({ complete: false, fromLine: 1, toLine: 2, lastLine: 2 });
    expect(starter.decode(ids)).toMatch(/(lorem|ipsum|dolor|sit|amet) Summary:$/);
  });

  it('of one giant word is cut inside it, between characters', () => {
    const { ids, read } = fitted('🙂x{'.repeat(5000), 128, webCodec());
    expect(ids.length).toBeLessThanOrEqual(128);
    expect(read).toMatchObject({ complete: false, toLine: 1, lastLine: 1 });
  });

  it('may be a megabyte, in a time nobody notices', () => {
    const start = performance.now();
    const { read } = fitted(code(20_000).slice(0, 1_000_000), 2048);
    expect(read.complete).toBe(false);
    expect(performance.now() - start).toBeLessThan(5000);
  });

  it('is refused when the question alone fills the window', () => {
    const long = { before: '', after: `\n\nQuestion: ${'why '.repeat(600)}` };
    expect(() => fitted(code(500), 512, starter, 1, long)).toThrow(QuestionTooLongError);
    expect(() => fitted(code(500), 512, starter, 1, long)).toThrow(/ask a shorter one/);
  });
});

describe('input that is refused', () => {
  it('is named, with what to do next', () => {
    for (const [text, error, message] of [
      ['', EmptyInputError, /select some text/],
      [' \n\t\n ', EmptyInputError, /select some text/],
      ['x'.repeat(1_000_001), InputTooLargeError, /select the part/],
      ['\u007fELF\u0000\u0001', BinaryInputError, /choose a text/],
      ['\u0001\u0002\ufffdabc\ufffd', BinaryInputError, /choose a text/],
    ] as const) {
      expect(() => checkInput(text)).toThrow(error);
      expect(() => checkInput(text)).toThrow(message);
    }
  });

  it('is not text with a few odd characters', () => {
    for (const text of [
      'a\u001b[31mred\u001b[0m text',
      'form\ffeed',
      'one bad \ufffd byte in a text',
      '\ufefftext',
      'x'.repeat(1_000_000),
    ]) {
      expect(() => checkInput(text)).not.toThrow();
    }
  });
});
