/** The page's strings: English in the code, translated by what the extension hands over. */

let words: Readonly<Record<string, string>> = {};
let numbers = new Intl.NumberFormat('en');
let shares = new Intl.NumberFormat('en', { style: 'percent', maximumFractionDigits: 0 });

export function speak(language: string, translations: Readonly<Record<string, string>>): void {
  words = translations;
  numbers = new Intl.NumberFormat(language);
  shares = new Intl.NumberFormat(language, { style: 'percent', maximumFractionDigits: 0 });
  document.documentElement.lang = language;
}

/** Like `vscode.l10n.t`: `{0}`, `{1}` … stand for the further arguments. */
export const t = (message: string, ...args: readonly (string | number)[]): string =>
  (words[message] ?? message).replace(/\{(\d+)\}/g, (whole, index: string) => {
    const value = args[Number(index)];
    if (value === undefined) return whole;
    return typeof value === 'number' ? numbers.format(value) : value;
  });

export function percent(share: number): string {
  return shares.format(share);
}
