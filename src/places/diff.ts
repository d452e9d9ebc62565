/** The output of `git diff` as a model should read it: file names and changed lines, without the bookkeeping. Pure. */

/** Headers that say nothing about what changed. */
const BOOKKEEPING =
  /^(?:index |old mode |new mode |similarity index |dissimilarity index |\\ No newline|GIT binary patch)/;

/** A line for each file, then its changes, with the few lines around them that git gives. */
export function readableDiff(diff: string): string {
  const lines: string[] = [];
  let inHeader = false;
  for (const line of diff.replaceAll('\r\n', '\n').split('\n')) {
    const file = /^diff --git "?a\/.*? "?b\/(.*?)"?$/.exec(line)?.[1];
    if (file !== undefined) {
      if (lines.length > 0) lines.push('');
      lines.push(`File: ${file}`);
      inHeader = true;
    } else if (line.startsWith('@@')) {
      inHeader = false;
      // The name of the function that git found above the change.
      const inside = /^@@[^@]*@@ (.+)$/.exec(line)?.[1];
      if (inside !== undefined) lines.push(` ${inside.trim()}`);
    } else if (inHeader) {
      const note = headerNote(line);
      if (note !== undefined) lines.push(note);
    } else if (!BOOKKEEPING.test(line)) {
      lines.push(line);
    }
  }
  return lines.join('\n').trim();
}

function headerNote(line: string): string | undefined {
  if (line.startsWith('new file')) return 'New file';
  if (line.startsWith('deleted file')) return 'Deleted file';
  const from = /^rename from (.*)$/.exec(line)?.[1];
  if (from !== undefined) return `Renamed from: ${from}`;
  return line.startsWith('Binary files') ? 'Binary file' : undefined;
}

/** Only what went and what came, as examples of commit messages show changes. */
export function changedLines(readable: string): string[] {
  return readable.split('\n').filter((line) => /^[+-]/.test(line) || /^(?:New|Deleted|Renamed|File)/.test(line));
}
