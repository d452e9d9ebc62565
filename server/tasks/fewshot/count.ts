/** The meter: what each part of a prompt costs, and which examples do not fit. */
import { type PromptSet, shownExamples } from '../../prompts/set';
import type { PromptCount } from '../../protocol';
import { mostThatFit, type Reader, writtenPrompt, writtenSections } from './fit';

/**
 * Counts any set, also one that is not ready to run.
 * @param input the query; may be empty
 */
export function countSet(reader: Reader, set: PromptSet, input: string): Omit<PromptCount, 'model'> {
  const { window, trainedLength } = reader.profile;
  const shown = shownExamples(set);
  const { head, examples, query, plan } = writtenSections(reader, set, input, shown);
  const whole = reader.codec.encode(head + examples.join('') + query).length;
  const parts = tokensOfParts(reader, [head, ...examples, query], whole);

  const fits = whole <= window;
  const reach = (count: number) => writtenPrompt(reader, set, input, shown.slice(0, count)).ids.length <= window;
  const most = fits ? shown.length : mostThatFit(shown.length, reach);
  const tokens = new Map(shown.map((index, at) => [index, parts[at + 1] ?? 0]));
  const away = new Set(shown.slice(most ?? 0));
  return {
    window,
    trainedLength: Math.min(window, trainedLength),
    total: whole,
    instruction: parts[0] ?? 0,
    query: parts.at(-1) ?? 0,
    examples: set.examples.map((_, index) => ({ tokens: tokens.get(index) ?? 0, fits: !away.has(index) })),
    fits,
    hopeless: most === undefined,
    substitutions: plan.substitutions,
  };
}

/**
 * What each part adds to the whole. Counted part by part, which is right for tokenizers that never join text across
 * white space; where the sum is not the whole, by the difference that each part makes to the prompt before it.
 */
function tokensOfParts({ codec }: Reader, parts: readonly string[], whole: number): number[] {
  const ends = codec.encode('').length;
  const alone = parts.map((part, at) => codec.encodePlain(part).length + (at === parts.length - 1 ? ends : 0));
  if (alone.reduce((sum, count) => sum + count, 0) === whole) return alone;
  let before = 0;
  let text = '';
  return parts.map((part, at) => {
    text += part;
    const count = at === parts.length - 1 ? whole : codec.encodePlain(text).length;
    const added = count - before;
    before = count;
    return added;
  });
}
