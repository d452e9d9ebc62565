// The sets that come with the product are what they teach: readable files, ready to run, in both languages.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { formatPromptSet, parsePromptSet } from '../../../server/prompts/file';
import { gallery } from '../../../server/prompts/gallery';
import { problemsOf } from '../../../server/prompts/problems';
import { TextCodec } from '../../../server/text/codec';
import { Writability } from '../../../server/text/writable';
import { STARTER_DIR } from './support';

const folder = join(import.meta.dirname, '..', '..', '..', 'server', 'prompts', 'gallery');

describe('the gallery', () => {
  it('holds every file of its folder, each written as the product writes it', () => {
    const files = readdirSync(folder).filter((name) => name !== 'names.zh-cn.json');
    expect(
      gallery()
        .map(({ id }) => `${id}.json`)
        .sort(),
    ).toEqual(files.sort());
    for (const file of files) {
      const text = readFileSync(join(folder, file), 'utf8');
      expect(formatPromptSet(parsePromptSet(text, file))).toBe(text);
    }
  });

  it('is ready to run, with enough examples, and refers to no schema of its own', () => {
    for (const { id, set, chinese } of gallery()) {
      expect(problemsOf(set), id).toEqual([]);
      expect(set.examples.length, id).toBeGreaterThanOrEqual(5);
      expect(set, id).not.toHaveProperty('$schema');
      expect(chinese.name, id).toMatch(/\p{Script=Han}/u);
      expect(chinese.description, id).toMatch(/\p{Script=Han}/u);
      expect(set.description, id).not.toBe('');
      const inputs = set.examples.map(({ input }) => input);
      expect(new Set(inputs).size, id).toBe(inputs.length);
    }
    const names = gallery().map(({ set }) => set.name);
    expect(new Set(names).size).toBe(names.length);
  });

  it('shows answers that the vocabulary can write', async () => {
    const writability = new Writability(await TextCodec.open(STARTER_DIR));
    for (const { id, set } of gallery()) {
      for (const { output } of set.examples) {
        const lost = [...output].filter((char) => writability.of(char).kind === 'lost');
        expect(lost, `${id}: ${output}`).toEqual([]);
      }
    }
  });
});
