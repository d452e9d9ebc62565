/** JSON with comments and trailing commas, as the editor's language configurations are written. */

/** @throws SyntaxError */
export function parseJsonc(text: string): unknown {
  // Strings come first in the alternatives, so that what looks like a comment inside one is left alone.
  const plain = text
    .replace(/^\ufeff/, '')
    .replace(/("(?:[^"\\]|\\.)*")|\/\/[^\n]*|\/\*[\s\S]*?\*\//g, (_, string?: string) => string ?? '')
    .replace(/("(?:[^"\\]|\\.)*")|,(?=\s*[\]}])/g, (_, string?: string) => string ?? '');
  return JSON.parse(plain);
}
