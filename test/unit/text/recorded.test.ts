/** The starter's tokenizer against what the `tokenizers` library of the reference gave (see test/parity/reference). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { StreamDecoder } from '../../../server/text/stream';
import { starterCodec } from './tokenizers';

interface Recorded {
  readonly prompts: readonly {
    readonly id: string;
    readonly promptIds: readonly number[];
    readonly greedy: { readonly ids: readonly number[]; readonly text: string };
  }[];
}

function fixture<T>(name: string): T {
  return JSON.parse(readFileSync(join(import.meta.dirname, '../../fixtures', name), 'utf8')) as T;
}

const codec = starterCodec();
const prompts = new Map(fixture<{ id: string; prompt: string }[]>('prompts.json').map((p) => [p.id, p.prompt]));
const recorded = fixture<Recorded>('reference/starter.json').prompts;

describe('the recorded prompts', () => {
  it('are many, and odd ones are among them', () => {
    expect(recorded.length).toBeGreaterThan(100);
    expect(recorded.filter((r) => r.id.startsWith('odd-')).length).toBeGreaterThan(8);
  });

  for (const { id, promptIds, greedy } of recorded) {
    it(`${id}: the same ids and the same text`, () => {
      expect(codec.encode(prompts.get(id) ?? '')).toEqual(promptIds);
      expect(codec.decode(greedy.ids)).toBe(greedy.text);
      const stream = new StreamDecoder(codec);
      const shown = greedy.ids.map((token) => stream.push([token])).join('') + stream.end();
      expect(shown).toBe(greedy.text.trim());
    });
  }
});
