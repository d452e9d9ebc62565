/** Two lines or more with the same number of tabs: nobody types that. */
export function looksLikeCells(text: string): boolean {
  const lines = text.replace(/\r?\n$/, '').split(/\r?\n/);
  const tabs = (line: string): number => line.split('\t').length - 1;
  const first = tabs(lines[0] ?? '');
  return lines.length > 1 && first > 0 && lines.every((line) => tabs(line) === first && !line.startsWith('\t'));
}
