import type { Substitution } from '../server/protocol';
import type { KeptResult } from './history/entry';
import { plainAsMarkdown, small } from './markdown';

/** `vscode.l10n.t`, passed in so that these lines can be tested without an editor. */
export type Translate = (message: string, ...args: (string | number)[]) => string;

/** A device as the server calls it, with the number of a processor's threads in the language of `t`. */
export function deviceName(device: string, t: Translate): string {
  const [, name, count] = /^(.*) \((\d+) threads?\)$/.exec(device) ?? [];
  if (name === undefined || count === undefined) return device;
  return count === '1' ? t('{0} (1 thread)', name) : t('{0} ({1} threads)', name, count);
}

/**
 * The lines under a finished answer, as Markdown: first model, device and time; then, only if there is something to say,
 * what was not read, what was cut off, and which characters the model cannot see.
 */
export function footer(result: KeptResult, seconds: number, t: Translate): string {
  return footerLines(result, seconds, t)
    .map((line) => small(plainAsMarkdown(line)))
    .join('  \n');
}

export function footerLines(result: KeptResult, seconds: number, t: Translate): string[] {
  const facts = [result.model, deviceName(result.device, t), t('{0} s', formatSeconds(seconds))];
  if (result.finishReason === 'cancelled') facts.push(t('stopped'));
  const lines = [facts.join(' · ')];
  const { read } = result;
  if (!read.complete) {
    lines.push(
      t(
        'Only lines {0} to {1} of {2} were read: the model takes {3} tokens at once. Select less to have all of it read.',
        read.fromLine,
        read.toLine,
        read.lastLine,
        read.window,
      ),
    );
  }
  if (result.dropped !== undefined && result.dropped.length > 0) {
    const numbers = result.dropped.map((index) => index + 1).join(', ');
    lines.push(t('The window was too small for examples {0}: they were left away.', numbers));
  }
  if (result.repeated === true) {
    lines.push(t('The answer repeated itself and was ended there.'));
  } else if (result.finishReason === 'length') {
    lines.push(
      result.dropped === undefined
        ? t('The answer was cut off: the setting flan.maxNewTokens allows no more tokens.')
        : t('The answer was cut off: the settings of the prompt set allow no more tokens.'),
    );
  }
  const substituted = substitutionLine(result.substitutions, t);
  if (substituted !== undefined) lines.push(substituted);
  return lines;
}

/** Which characters the model cannot see; undefined when a reader need not know. */
export function substitutionLine(substitutions: readonly Substitution[], t: Translate): string | undefined {
  // White space that was read as a space changes nothing for a reader, and happens with every text of several lines.
  const notable = substitutions.filter(({ char, as }) => char.trim() !== '' || as?.trim() !== '');
  if (notable.length === 0) return undefined;
  const replaced = notable
    .filter((s) => s.as !== null)
    .map((s) => t('{0} as {1}', visible(s.char), visible(s.as ?? '')));
  const lost = notable.filter((s) => s.as === null).map((s) => visible(s.char));
  const sentences: string[] = [];
  if (replaced.length > 0) sentences.push(t('The model read other characters for some: {0}.', shorten(replaced)));
  if (lost.length > 0) sentences.push(t('The model could not read these characters: {0}.', shorten(lost)));
  return sentences.join(' ');
}

/** A long list helps nobody in a one-line note. */
const MOST_LISTED = 8;

function shorten(items: readonly string[]): string {
  const shown = items.slice(0, MOST_LISTED).join(', ');
  return items.length > MOST_LISTED ? `${shown}, …` : shown;
}

/** White space and control characters by their common symbols, others as they are. */
function visible(text: string): string {
  return [...text]
    .map((char) => {
      const code = char.codePointAt(0) ?? 0;
      if (char === '\n') return '⏎';
      if (char === '\t') return '⇥';
      if (char === ' ') return '␣';
      if (code < 0x20 || (code >= 0x7f && code < 0xa0)) return `U+${code.toString(16).toUpperCase().padStart(4, '0')}`;
      return char;
    })
    .join('');
}

/** Two digits below ten seconds, whole seconds above. */
export function formatSeconds(seconds: number): string {
  if (seconds < 10) return seconds.toFixed(1);
  return String(Math.round(seconds));
}
