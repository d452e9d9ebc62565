/** What the tests of prompt sets share. */
import { join } from 'node:path';
import type { PromptSet } from '../../../server/prompts/set';
import type { PromptAnswer, PromptOutcome } from '../../../server/protocol';

export const STARTER_DIR = join(import.meta.dirname, '..', '..', '..', 'models', 'starter');

export const SET: PromptSet = {
  version: 1,
  name: 'Sentiment',
  instruction: 'Is the text positive or negative?',
  form: { input: 'Text', output: 'Sentiment' },
  examples: [
    { input: 'A joy to use.', output: 'positive' },
    { input: 'It crashes all the time.', output: 'negative' },
    { input: 'I like it.', output: 'positive' },
  ],
};

/** An answer with nothing special about it. */
export function answered(text: string, more: Partial<PromptAnswer> = {}): PromptOutcome {
  const answer: PromptAnswer = {
    text,
    logprob: -1,
    tokens: 2,
    finishReason: 'stop',
    promptTokens: 20,
    window: 2048,
    dropped: [],
    substitutions: [],
    ...more,
  };
  return { kind: 'answered', answer };
}
