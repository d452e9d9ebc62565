// An answer of the history goes to its text, wherever that has gone; never to a text that only looks alike.
import { describe, expect, it } from 'vitest';
import { excerptOf, locate } from '../../../src/locate';

const body = ['def retry(function):', '    for attempt in range(3):', '        return function()', '    raise Failed'];
const wanted = excerptOf(body.join('\n'));
const lines = (...parts: (string | string[])[]): string => parts.flat().join('\n');

describe('a text is found', () => {
  it('at its old place', () => {
    expect(locate(lines('import time', body, 'x = 1'), wanted, 1)).toEqual({
      start: { line: 1, character: 0 },
      end: { line: 4, character: body[3]?.length },
      exact: true,
    });
  });

  it('farther down, with other line ends', () => {
    const found = locate(lines(Array(40).fill('pass'), body).replaceAll('\n', '\r\n'), wanted, 1);
    expect(found).toMatchObject({ start: { line: 40 }, end: { line: 43 }, exact: true });
  });

  it('at the nearest of several places', () => {
    const text = lines(body, 'a', body, 'b', body);
    expect(locate(text, wanted, 6)?.start.line).toBe(5);
    expect(locate(text, wanted, 99)?.start.line).toBe(10);
    expect(locate(text, wanted, 0)?.start.line).toBe(0);
  });

  it('in the middle of a line', () => {
    expect(locate('let a = b + c;', excerptOf('b + c'), 0)).toMatchObject({ start: { character: 8 }, exact: true });
  });

  it('indented anew, or with lines changed, put in and taken out, and is then no longer exact', () => {
    const indented = lines(
      'class A:',
      body.map((line) => `  ${line}`),
    );
    expect(locate(indented, wanted, 0)).toMatchObject({ start: { line: 1 }, end: { line: 4 }, exact: false });
    const edited = lines('x', body[0] ?? '', '    log()', '    log()', body.slice(1, 3), '    raise Other');
    expect(locate(edited, wanted, 0)).toMatchObject({ start: { line: 1 }, end: { line: 5 }, exact: false });
  });

  it('when it is long and kept by its ends', () => {
    const long = Array.from({ length: 3000 }, (_, i) => `line number ${i}`);
    const excerpt = excerptOf(long.join('\n'));
    expect(excerpt.head.length + (excerpt.tail?.length ?? 0)).toBeLessThan(10_000);
    expect(locate(lines('first', long, 'last'), excerpt, 0)).toMatchObject({
      start: { line: 1 },
      end: { line: 3000, character: 'line number 2999'.length },
      exact: true,
    });
  });
});

it.each([
  ['other lines', 'import time\nprint(time.time())\n'],
  ['less than half of its lines', 'def retry(function):\n    pass\n    pass\n    pass\n'],
  ['only brackets in common', '{\n}\n'],
  ['nothing at all', ''],
])('a file with %s does not have it', (_, document) => {
  expect(locate(document, wanted, 0)).toBeUndefined();
});

it('an empty text is nowhere', () => {
  expect(locate('a\n\nb', excerptOf('\n'), 0)).toBeUndefined();
});
