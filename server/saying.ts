/**
 * A sentence apart from what it names, so that a front end can say it in its user's language: the English text is the key
 * of the translation. Pure; loaded by the extension, too.
 */

export interface Saying {
  /** English, with `{0}`, `{1}` … for the arguments. */
  readonly text: string;
  readonly args: readonly (string | number | Saying)[];
}

/** `text` is a literal in single quotes wherever this is called: a test collects them and looks for their translations. */
export function say(text: string, ...args: Saying['args']): Saying {
  return { text, args };
}

/** Names and numbers, which are the same in every language. */
export function verbatim(text: string): Saying {
  return { text: '{0}', args: [text] };
}

/** The same sentence with other names in it. */
export function withNames(saying: Saying, change: (name: string) => string): Saying {
  const args = saying.args.map((arg) => {
    if (typeof arg === 'object') return withNames(arg, change);
    return typeof arg === 'string' ? change(arg) : arg;
  });
  return { text: saying.text, args };
}

/** The sentence in English. */
export function inEnglish({ text, args }: Saying): string {
  return text.replaceAll(/\{(\d+)\}/g, (whole, index: string) => {
    const arg = args[Number(index)];
    if (arg === undefined) return whole;
    return typeof arg === 'object' ? inEnglish(arg) : String(arg);
  });
}
