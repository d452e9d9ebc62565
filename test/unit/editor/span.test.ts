// A thread's range must be where its text is after any edit.
import { describe, expect, it } from 'vitest';
import { type Change, endOf, moved, type Place, type Span } from '../../../src/span';

function offsetOf(text: string, { line, character }: Place): number {
  const lines = text.split('\n');
  return lines.slice(0, line).reduce((sum, each) => sum + each.length + 1, 0) + character;
}

function placeOf(text: string, offset: number): Place {
  return endOf({ line: 0, character: 0 }, text.slice(0, offset));
}

function textOf(text: string, { start, end }: Span): string {
  return text.slice(offsetOf(text, start), offsetOf(text, end));
}

function edit(text: string, from: number, to: number, by: string): { after: string; change: Change } {
  const change = { range: { start: placeOf(text, from), end: placeOf(text, to) }, text: by };
  return { after: text.slice(0, from) + by + text.slice(to), change };
}

const text = 'one\ntwo\nTHREE\nFOUR\nfive\n';
const from = text.indexOf('THREE');
const to = text.indexOf('\nfive');
const span: Span = { start: placeOf(text, from), end: placeOf(text, to) };

/** What the span holds after the edit. */
function edited(a: number, b: number, by: string): string {
  const { after, change } = edit(text, a, b, by);
  return textOf(after, moved(span, [change]));
}

describe('a span', () => {
  it('keeps its text through every edit outside of it', () => {
    for (const by of ['', 'x', 'a\nb', '\n\n', 'ü\r\nz'.replace('\r', '')]) {
      for (let a = 0; a <= text.length; a++) {
        for (let b = a; b <= text.length; b++) {
          if (b > from && a < to) continue;
          expect(edited(a, b, by), `${a}-${b} ${JSON.stringify(by)}`).toBe('THREE\nFOUR');
        }
      }
    }
  });

  it('holds what is edited inside of it', () => {
    expect(edited(from + 1, from + 2, 'hh')).toBe('ThhREE\nFOUR');
    expect(edited(from + 5, from + 6, '')).toBe('THREEFOUR');
    expect(edited(from + 5, from + 5, '\nmore')).toBe('THREE\nmore\nFOUR');
  });

  it('loses what is cut off at an edge', () => {
    expect(edited(0, from + 2, 'x')).toBe('REE\nFOUR');
    expect(edited(to - 2, text.length, '')).toBe('THREE\nFO');
    expect(edited(0, text.length, 'all new')).toBe('');
  });

  it('is the new text when exactly it is replaced', () => {
    expect(edited(from, to, 'other\ntext\nhere')).toBe('other\ntext\nhere');
  });

  it('follows several changes of one event, the last first', () => {
    const last = edit(text, text.indexOf('five'), text.indexOf('five'), 'x\n');
    const middle = edit(last.after, from + 1, from + 2, '\n');
    const first = edit(middle.after, 0, 0, 'zero\n');
    expect(textOf(first.after, moved(span, [last.change, middle.change, first.change]))).toBe('T\nREE\nFOUR');
  });
});
