/** A conversation as one prompt: a model of this family reads a text and writes an answer, it has no turns. Pure. */

export interface Spoken {
  readonly who: 'user' | 'assistant';
  readonly text: string;
}

/**
 * What users said, as it is, when nobody has answered yet. Once there was an answer, every turn gets the name of who
 * spoke, and the last line is left open for the model.
 */
export function promptOf(messages: readonly Spoken[]): string {
  const turns: Spoken[] = [];
  for (const { who, text } of messages) {
    if (text.trim() === '') continue;
    const last = turns.at(-1);
    // Instructions and a question are often two messages of one side.
    if (last?.who === who) turns[turns.length - 1] = { who, text: `${last.text}\n\n${text.trim()}` };
    else turns.push({ who, text: text.trim() });
  }
  if (turns.every(({ who }) => who === 'user')) return turns.map(({ text }) => text).join('\n\n');
  const lines = turns.map(({ who, text }) => `${NAMES[who]}: ${text}`);
  return [...lines, `${NAMES.assistant}:`].join('\n\n');
}

const NAMES: Readonly<Record<Spoken['who'], string>> = { user: 'User', assistant: 'Assistant' };
