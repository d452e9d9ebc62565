// An answer of the history goes to its text, wherever that has gone; never to a text that only looks alike.
import { describe, expect, it } from 'vitest';
import { excerptOf, type Lines, locate } from '../../../src/locate';

const body = ['def retry(function):', '    for attempt in range(3):', '        return function()', '    raise Failed'];
const wanted = excerptOf(body.join('\n'));

function document(...parts: (string | string[])[]): Lines & { version: number; lines: string[] } {
  const lines = parts.flat();
  return {
    version: 1,
    lines,
    get lineCount() {
      return this.lines.length;
    },
    lineAt(line) {
      const text = this.lines[line];
      if (text === undefined) throw new Error(`there is no line ${line}`);
      return { text };
    },
  };
}

describe('a text is found', () => {
  it('at its old place', async () => {
    expect(await locate(document('import time', body, 'x = 1'), wanted, 1)).toEqual({
      start: { line: 1, character: 0 },
      end: { line: 4, character: body[3]?.length },
      exact: true,
    });
  });

  it('farther down, and kept with other line ends', async () => {
    const found = await locate(document(Array(40).fill('pass'), body), excerptOf(body.join('\r\n')), 1);
    expect(found).toMatchObject({ start: { line: 40 }, end: { line: 43 }, exact: true });
  });

  it('at the nearest of several places', async () => {
    const text = document(body, 'a', body, 'b', body);
    expect((await locate(text, wanted, 6))?.start.line).toBe(5);
    expect((await locate(text, wanted, 99))?.start.line).toBe(10);
    expect((await locate(text, wanted, 0))?.start.line).toBe(0);
  });

  it('in the middle of a line, and from the middle of one to the middle of another', async () => {
    const part = excerptOf('b + c');
    expect(await locate(document('let a = b + c;'), part, 0)).toMatchObject({ start: { character: 8 }, exact: true });
    expect(await locate(document('x', 'let a = b +', '  c + d;'), excerptOf('b +\n  c'), 0)).toEqual({
      start: { line: 1, character: 8 },
      end: { line: 2, character: 3 },
      exact: true,
    });
  });

  it('indented anew, or with lines changed, put in and taken out, and is then no longer exact', async () => {
    const indented = document(
      'class A:',
      body.map((line) => `  ${line}`),
    );
    expect(await locate(indented, wanted, 0)).toMatchObject({ start: { line: 1 }, end: { line: 4 }, exact: false });
    const edited = document('x', body[0] ?? '', '    log()', '    log()', body.slice(1, 3), '    raise Other');
    expect(await locate(edited, wanted, 0)).toMatchObject({ start: { line: 1 }, end: { line: 5 }, exact: false });
  });

  it('when it is long and kept by its ends', async () => {
    const long = Array.from({ length: 3000 }, (_, i) => `line number ${i}`);
    const excerpt = excerptOf(long.join('\n'));
    expect(excerpt.head.length + (excerpt.tail?.length ?? 0)).toBeLessThan(10_000);
    const whole = { start: { line: 1 }, end: { line: 3000, character: 'line number 2999'.length }, exact: true };
    expect(await locate(document('first', long, 'last'), excerpt, 0)).toMatchObject(whole);
    // The nearest beginning has no end below it.
    expect(await locate(document('first', long, long.slice(0, 2000)), excerpt, 3001)).toMatchObject(whole);
    // Neither end is as it was.
    const edited = document('first', 'new', long.slice(3), 'new', long.slice(0, 50), 'last');
    const inside = [...long.slice(0, 20), 'gone', ...long.slice(20)];
    expect(await locate(edited, excerptOf(inside.join('\n')), 0)).toMatchObject({
      start: { line: 2 },
      end: { line: 2998 },
      exact: false,
    });
    const oneLine = excerptOf(`${'a'.repeat(10_000)}${'b'.repeat(10_000)}`);
    expect(await locate(document('', `x${'a'.repeat(10_000)}${'b'.repeat(10_000)}y`), oneLine, 0)).toMatchObject({
      start: { line: 1, character: 1 },
      end: { line: 1 },
      exact: true,
    });
  });
});

it.each([
  ['other lines', ['import time', 'print(time.time())', '']],
  ['less than half of its lines', ['def retry(function):', '    pass', '    pass', '    pass', '']],
  ['only brackets in common', ['{', '}', '']],
  ['nothing at all', ['']],
])('a file with %s does not have it', async (_, lines) => {
  expect(await locate(document(lines), wanted, 0)).toBeUndefined();
});

it('an empty text is nowhere', async () => {
  expect(await locate(document('a', '', 'b'), excerptOf('\n'), 0)).toBeUndefined();
});

describe('a search in a large document', () => {
  const portion = 2000;
  const same = Array.from({ length: 4000 }, () => '    return value');
  const other = Array.from({ length: 4000 }, (_, i) => `    return value_${i}`);

  it.each([
    ['of a text that is not there', other, ['nowhere at all', 'nor this', 'nor that']],
    ['of a text that is at its end', [...other, ...body], body],
    ['of a text like most of it, but not quite', same, [...same.slice(0, 60), 'the end']],
    ['of a text with most of its lines', other, [...other.slice(100, 3000), 'the end']],
  ])('%s lets others run after every few characters', async (_, lines, text) => {
    const searched = document(lines);
    const { lineAt } = searched;
    let read = 0;
    let most = 0;
    let rests = 0;
    searched.lineAt = (line) => {
      const found = lineAt.call(searched, line);
      read += found.text.length;
      most = Math.max(most, read);
      return found;
    };
    const cancelled = (): boolean => {
      rests += 1;
      read = 0;
      return false;
    };
    await locate(searched, { head: text.join('\n') }, 0, { cancelled, portion });
    expect(rests).toBeGreaterThan(lines.join('').length / portion);
    expect(most).toBeLessThanOrEqual(portion + 2 * Math.max(...lines.map(({ length }) => length)));
  });

  it('ends when nobody waits any more', async () => {
    let asked = 0;
    const cancelled = (): boolean => {
      asked += 1;
      return asked > 3;
    };
    expect(await locate(document(other, body), wanted, 0, { cancelled, portion })).toBeUndefined();
    expect(asked).toBe(5);
  });

  it('begins again when the document changes', async () => {
    const searched = document(other, body);
    let rests = 0;
    const cancelled = (): boolean => {
      rests += 1;
      if (rests === 3) {
        searched.lines = ['new', 'new', ...body];
        searched.version += 1;
      }
      return false;
    };
    const found = await locate(searched, wanted, 0, { cancelled, portion });
    expect(found).toMatchObject({ start: { line: 2 }, end: { line: 5 }, exact: true });
  });
});
