/** A small workspace: code, prose, a text that makes the starter model write on and on, and one without text. */

const retry = `import time


def retry(function, attempts=3, delay=0.5):
    """Call a function until it succeeds."""
    for attempt in range(attempts):
        try:
            return function()
        except ConnectionError:
            if attempt == attempts - 1:
                raise
            time.sleep(delay * 2 ** attempt)


def double(x):
    return {"x": x + x}
`;

const notes = `Keeper is a program that makes backups of folders and checks them. Every snapshot is
compressed before it is uploaded, so a backup needs about half of the space. The configuration
file is called keeper.conf, and the option keep-days sets for how many days old snapshots are
kept. The default is 30 days.

The second version can also restore single files → 文件.
`;

const numbers = `${Array.from({ length: 200 }, (_, i) => i + 1).join('\n')}\n`;

export const FILES = {
  'retry.py': retry,
  'notes.md': notes,
  'numbers.txt': numbers,
  'empty.txt': '',
} as const;
