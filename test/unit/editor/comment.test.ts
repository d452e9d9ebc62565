// An answer as a comment: whatever it says, the program around it stays what it was.
import { describe, expect, it } from 'vitest';
import { commentLines, insertionLine, widthOf, wrapped } from '../../../src/insert/comment';
import { parseJsonc } from '../../../src/insert/jsonc';

const layout = { indent: '    ', columns: 40, tabSize: 4 };
const words = 'Calls a function until it succeeds, and waits longer after every attempt that failed.';

describe('comment lines', () => {
  it('are indented, prefixed and not longer than the ruler', () => {
    const lines = commentLines(words, { line: '#' }, layout);
    expect(lines.length).toBeGreaterThan(1);
    for (const line of lines) expect(line).toMatch(/^ {4}# \S.{0,33}$/);
    expect(lines.map((line) => line.slice(6)).join(' ')).toBe(words);
  });

  it('keep the line breaks of the answer', () => {
    expect(commentLines('a\n\nb', { line: '//', block: ['/*', '*/'] }, { ...layout, indent: '\t' })).toEqual([
      '\t// a',
      '\t//',
      '\t// b',
    ]);
  });

  it('are one block where there is no other comment, on one line if it fits', () => {
    expect(commentLines('Short.', { block: ['<!--', '-->'] }, layout)).toEqual(['    <!-- Short. -->']);
    const lines = commentLines(words, { block: ['/*', '*/'] }, layout);
    expect([lines[0], lines.at(-1)]).toEqual(['    /*', '    */']);
  });

  it('cannot be ended by what the answer says', () => {
    expect(commentLines('ends */ here', { block: ['/*', '*/'] }, layout)).toEqual(['    /* ends * / here */']);
    expect(
      commentLines('a --> b', { block: ['<!--', '-->'] }, layout)
        .join('')
        .match(/-->/g),
    ).toHaveLength(1);
  });

  it('stay readable in deeply indented code', () => {
    const lines = commentLines(words, { line: '#' }, { ...layout, indent: ' '.repeat(60) });
    expect(lines.length).toBeLessThan(words.split(' ').length / 3);
  });
});

it('wide characters take two columns and may be parted', () => {
  expect(widthOf('文件 a\t', 4)).toBe(8);
  expect(wrapped('这个函数会重试直到成功为止并且每次等待更久', 16)).toEqual([
    '这个函数会重试直',
    '到成功为止并且每',
    '次等待更久',
  ]);
  expect(wrapped('a_word_that_is_longer_than_the_line b', 10)).toEqual(['a_word_that_is_longer_than_the_line', 'b']);
});

it('some first lines stay first', () => {
  for (const first of ['#!/bin/sh', '<?xml version="1.0"?>', '<!DOCTYPE html>', '<?php']) {
    expect(insertionLine(0, first)).toBe(1);
    expect(insertionLine(3, first)).toBe(3);
  }
  expect(insertionLine(0, '# a comment')).toBe(0);
});

it('language configurations have comments and trailing commas', () => {
  expect(parseJsonc('\ufeff{ // c\n "a": "x // y, ]", /* b */ "b": ["/*", "*/",],\n}')).toEqual({
    a: 'x // y, ]',
    b: ['/*', '*/'],
  });
  expect(() => parseJsonc('{')).toThrow(SyntaxError);
});
