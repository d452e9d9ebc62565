/**
 * The model's words as Markdown that shows them as they are: nothing in an answer may become a link, an image, a heading
 * or an icon. Pure text in, text out.
 */

/** Escapes plain text for a Markdown string that allows HTML and theme icons. Line breaks and indentation survive. */
export function plainAsMarkdown(text: string): string {
  return text
    .replace(/\r\n?/g, '\n')
    .split('\n')
    .map((line) => {
      const indent = /^[ \t]*/.exec(line)?.[0] ?? '';
      // Ordinary leading spaces would be dropped, and four of them would start a code block.
      return '&nbsp;'.repeat(indent.replace(/\t/g, '    ').length) + escapePunctuation(line.slice(indent.length));
    })
    .join('  \n')
    .replace(/(?: {2}\n){2,}/g, '\n\n');
}

/** A small line under an answer, from Markdown that is escaped already. */
export function small(markdown: string): string {
  return `<small>${markdown}</small>`;
}

/**
 * Only what Markdown, HTML, theme icons or automatic links would take for themselves: screen readers speak the source,
 * and every backslash too many is heard.
 */
function escapePunctuation(text: string): string {
  return text
    .replace(/[\\`*_[\]|~#]/g, '\\$&')
    .replace(/[<>&$@]/g, (c) => ENTITIES[c] ?? c)
    .replace(/(:)(?=\/\/)|(?<=\bwww)(\.)/gi, '\\$&')
    .replace(/^[+\-=!]/, '\\$&')
    .replace(/^(\d+)([.)])/, '$1\\$2');
}

/** `$(name)` would become an icon even when escaped by a backslash, and an address a link. */
const ENTITIES: Readonly<Record<string, string>> = { '<': '&lt;', '>': '&gt;', '&': '&amp;', $: '&#36;', '@': '&#64;' };
