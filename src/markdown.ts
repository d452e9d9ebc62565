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

/** A dimmed small line under an answer, from Markdown that is escaped already. */
export function dimmed(markdown: string): string {
  return `<small><span style="color:var(--vscode-descriptionForeground);">${markdown}</span></small>`;
}

/** CommonMark lets any ASCII punctuation be escaped; the few with a meaning in HTML become entities. */
function escapePunctuation(text: string): string {
  return text.replace(/[!-/:-@[-`{-~]/g, (c) => ENTITIES[c] ?? `\\${c}`);
}

/** `$(name)` would become an icon even when escaped by a backslash. */
const ENTITIES: Readonly<Record<string, string>> = { '<': '&lt;', '>': '&gt;', '&': '&amp;', $: '&#36;' };
