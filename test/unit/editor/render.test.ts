// A model without turns gets one prompt, in which nothing that was said is missing or in another order.
import { describe, expect, it } from 'vitest';
import { promptOf } from '../../../src/chat/render';

const user = (text: string) => ({ who: 'user', text }) as const;
const assistant = (text: string) => ({ who: 'assistant', text }) as const;

describe('a conversation as a prompt', () => {
  it('is the question itself while nobody has answered', () => {
    expect(promptOf([user('Translate to German: Good day')])).toBe('Translate to German: Good day');
    expect(promptOf([user('Answer shortly. '), user(' Why?')])).toBe('Answer shortly.\n\nWhy?');
  });

  it('names who spoke once there was an answer, and leaves the last turn open', () => {
    expect(promptOf([user('A?'), assistant('B.'), user('And'), user('C?')])).toBe(
      'User: A?\n\nAssistant: B.\n\nUser: And\n\nC?\n\nAssistant:',
    );
  });

  it('has no turns of empty messages', () => {
    expect(promptOf([user(''), assistant(' '), user('A?')])).toBe('A?');
    expect(promptOf([])).toBe('');
  });
});
