// What a model reads of a change: which files, and what went and came; nothing else.
import { describe, expect, it } from 'vitest';
import { changedLines, readableDiff } from '../../../src/places/diff';

const diff = `diff --git a/src/a.ts b/src/a.ts
index 1234567..89abcde 100644
--- a/src/a.ts
+++ b/src/a.ts
@@ -10,3 +10,3 @@ export function load(path: string) {
   const text = read(path);
-  return parse(text);
+  return parse(text, path);
 }
diff --git a/old name.md b/new name.md
similarity index 90%
rename from old name.md
rename to new name.md
--- a/old name.md
+++ b/new name.md
@@ -1 +1,2 @@
 # Title
+--- a rule
\\ No newline at end of file
diff --git a/x.png b/x.png
new file mode 100644
index 0000000..1111111
Binary files /dev/null and b/x.png differ
`;

describe('a readable diff', () => {
  const readable = readableDiff(diff);

  it('has file names, changes and what is around them', () => {
    expect(readable).toBe(
      [
        'File: src/a.ts',
        ' export function load(path: string) {',
        '   const text = read(path);',
        '-  return parse(text);',
        '+  return parse(text, path);',
        ' }',
        '',
        'File: new name.md',
        'Renamed from: old name.md',
        ' # Title',
        '+--- a rule',
        '',
        'File: x.png',
        'New file',
        'Binary file',
      ].join('\n'),
    );
  });

  it('has as changed lines only what went, what came, and where', () => {
    expect(changedLines(readable)).toEqual([
      'File: src/a.ts',
      '-  return parse(text);',
      '+  return parse(text, path);',
      'File: new name.md',
      'Renamed from: old name.md',
      '+--- a rule',
      'File: x.png',
      'New file',
    ]);
  });

  it('is empty when nothing changed', () => {
    expect(readableDiff('')).toBe('');
    expect(changedLines('')).toEqual([]);
  });
});
