// What a model writes must reach the reader as it is: no links, images, headings, lists, icons or HTML of its making.
import { describe, expect, it } from 'vitest';
import { plainAsMarkdown } from '../../../src/markdown';

describe('plain text as Markdown', () => {
  it.each([
    ['plain words stay as they are, for screen readers.', 'plain words stay as they are, for screen readers.'],
    ['[x](http://example.org)', '\\[x\\](http\\://example.org)'],
    ['![x](y.png)', '\\!\\[x\\](y.png)'],
    ['see www.example.org', 'see www\\.example.org'],
    ['me@example.org', 'me&#64;example.org'],
    ['# head', '\\# head'],
    ['- item', '\\- item'],
    ['+ item', '\\+ item'],
    ['1. item', '1\\. item'],
    ['2) item', '2\\) item'],
    ['> quote', '&gt; quote'],
    ['a\n===', 'a  \n\\==='],
    ['__init__ and *x*', '\\_\\_init\\_\\_ and \\*x\\*'],
    ['`code` ~~gone~~', '\\`code\\` \\~\\~gone\\~\\~'],
    ['a | b', 'a \\| b'],
    ['<b>&amp;</b>', '&lt;b&gt;&amp;amp;&lt;/b&gt;'],
    ['$(alert)', '&#36;(alert)'],
    ['back\\slash', 'back\\\\slash'],
  ])('%j', (text, markdown) => {
    expect(plainAsMarkdown(text)).toBe(markdown);
  });

  it('keeps line breaks, blank lines and indentation', () => {
    expect(plainAsMarkdown('a\r\n    b\n\nc')).toBe('a  \n&nbsp;&nbsp;&nbsp;&nbsp;b\n\nc');
  });
});
