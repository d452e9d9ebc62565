/** What a person should know about an answer beside its text: what was read, what was lost, who wrote it and how fast. */
import type { ReadPart, RunResult, Substitution } from '../protocol';
import type { Source } from './source';

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
    return [
      `Read lines ${read.fromLine}-${read.toLine} of ${name}, up to line ${read.lastLine} did not fit (${span}).`,
    ];
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

function substitutionNote(substitutions: readonly Substitution[]): string {
  const shown = substitutions
    .slice(0, 8)
    .map(({ char, as }) => `${visible(char)} ${as === null ? 'was lost' : `as ${as}`}`);
  const more = substitutions.length > shown.length ? `, and ${substitutions.length - shown.length} more` : '';
  return `Characters that the model's vocabulary cannot write: ${shown.join(', ')}${more}.`;
}

/** Control characters and spaces by code point; everything else as it is. */
function visible(char: string): string {
  if (!/[\p{C}\p{Z}]/u.test(char)) return char;
  return `U+${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(4, '0')}`;
}

function speedNote(result: RunResult): string {
  const { timings, text, ids, engine, device, model, weights } = result;
  const parts = [`${model} (${weights}) on ${device || engine}`];
  if (timings.loadMs > 0) parts.push(`loaded in ${seconds(timings.loadMs)}`);
  if (timings.firstTokenMs > 0) parts.push(`first word after ${seconds(timings.firstTokenMs)}`);
  const words = text.split(/\s+/).filter((word) => word !== '').length;
  const writing = (timings.msPerToken * ids.length) / 1000;
  if (writing > 0 && words > 1) parts.push(`${(words / writing).toPrecision(2).replace(/\.0$/, '')} words/s`);
  return `${parts.join(', ')}.`;
}

function seconds(ms: number): string {
  return ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
