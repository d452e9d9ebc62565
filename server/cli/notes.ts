/** What a person should know about an answer beside its text: what was read, what was lost, who wrote it and how fast. */
import type { ReadPart, RunResult, Substitution } from '../protocol';
import type { Source } from './source';

const SHOWN_SUBSTITUTIONS = 8;
const NAMES: ReadonlyMap<string, string> = new Map([
  ['\n', 'line breaks'],
  ['\t', 'tabs'],
  [' ', 'spaces'],
]);

/** Notes for stderr, the most important first. */
export function notesOf(result: RunResult, sources: readonly Source[]): string[] {
  const notes: string[] = [];
  if (result.finishReason === 'cancelled') notes.push('Stopped.');
  if (result.repeated === true) {
    notes.push('The answer repeated itself and was ended there.');
  } else if (result.finishReason === 'length') {
    notes.push(`The answer was cut after ${result.ids.length} tokens. Allow more with --max-new-tokens N.`);
  }
  if (result.promptIds.length > 0) {
    notes.push(...readNotes(result.read, sources));
    if (result.substitutions.length > 0) notes.push(substitutionNote(result.substitutions));
  }
  if (result.demo)
    notes.push('Written by the built-in demonstration model: expect little. How to get a real one: flan pull --help');
  if (result.promptIds.length > 0) notes.push(speedNote(result));
  return notes;
}

function readNotes(read: ReadPart, sources: readonly Source[]): string[] {
  if (read.complete) return [];
  const span = `${read.promptTokens} tokens of its window of ${read.window}`;
  const [only] = sources;
  if (sources.length <= 1) {
    const name = only === undefined ? 'the text' : only.name;
    const { fromLine, toLine, lastLine } = read;
    if (toLine >= lastLine) return [`Read ${name} up to the middle of line ${toLine}: the rest did not fit (${span}).`];
    return [`Read lines ${fromLine}-${toLine} of ${name}: lines ${toLine + 1}-${lastLine} did not fit (${span}).`];
  }
  // Several files are joined; the line numbers count in the joined text.
  let start = 1;
  return sources.map((source) => {
    const lines = source.text.split('\n').length;
    const from = Math.max(read.fromLine, start) - start + source.firstLine;
    const to = Math.min(read.toLine, start + lines - 1) - start + source.firstLine;
    const all = from === source.firstLine && to === source.firstLine + lines - 1;
    start += lines + 1;
    if (to < from) return `Not read: ${source.name} did not fit (${span}).`;
    return all
      ? `Read all of ${source.name}.`
      : `Read lines ${from}-${to} of ${source.name}; the rest did not fit (${span}).`;
  });
}

export function substitutionNote(substitutions: readonly Substitution[]): string {
  const shown = substitutions.slice(0, SHOWN_SUBSTITUTIONS).map(({ char, as }) => {
    return `${visible(char)} ${as === null ? 'was lost' : `as ${visible(as)}`}`;
  });
  const more = substitutions.length > shown.length ? `, and ${substitutions.length - shown.length} more` : '';
  return `Read differently, since the model's vocabulary cannot write it: ${shown.join(', ')}${more}.`;
}

/** White space and control characters by name or code point; everything else as it is. */
function visible(text: string): string {
  const name = NAMES.get(text);
  if (name !== undefined) return name;
  return text.replace(
    /[\p{C}\p{Z}]/gu,
    (c) => `U+${(c.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`,
  );
}

function speedNote(result: RunResult): string {
  const { timings, text, ids, engine, device, model, weights } = result;
  const parts = [`${model} (${weights}) on ${device || engine}`];
  if (timings.loadMs > 0) parts.push(`loaded in ${seconds(timings.loadMs)}`);
  if (timings.firstTokenMs > 0) parts.push(`first word after ${seconds(timings.firstTokenMs)}`);
  const words = text.split(/\s+/).filter((word) => word !== '').length;
  const writing = (timings.msPerToken * ids.length) / 1000;
  if (writing > 0 && words > 1) parts.push(`${rate(words / writing)} words/s`);
  return `${parts.join(', ')}.`;
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function rate(perSecond: number): string {
  return perSecond < 10 ? perSecond.toFixed(1) : String(Math.round(perSecond));
}
