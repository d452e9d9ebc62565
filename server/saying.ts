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

/** The sentence in English. */
export function inEnglish({ text, args }: Saying): string {
  return text.replaceAll(/\{(\d+)\}/g, (whole, index: string) => {
    const arg = args[Number(index)];
    if (arg === undefined) return whole;
    return typeof arg === 'object' ? inEnglish(arg) : String(arg);
  });
}
