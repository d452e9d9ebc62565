import { describe, expect, it } from 'vitest';
import type { TextCodec } from '../../../server/text/codec';
import { Substituter } from '../../../server/text/substitute';
import { Writability } from '../../../server/text/writable';
import { starterCodec, webCodec } from './tokenizers';

const starter = starterCodec();
const web = webCodec();

/** What the model would write if it copied the text: through the vocabulary and back. */
function copied(codec: TextCodec, text: string): string {
  return codec.decode(codec.encodePlain(text));
}

const C_CODE = `static int find(const char *s, char c) {
    for (int i = 0; s[i] != '\\0'; i++) {
        if (s[i] == c && i < 10) { return ~i ^ 1; }
    }
    return -1;
}
`;

describe('what a vocabulary can write', () => {
  it('is asked of the tokenizer', () => {
    const of = (codec: TextCodec, chars: string) => new Writability(codec).of(chars);
    for (const char of '{}<\\^~`') {
      expect(of(web, char), char).toEqual({ kind: 'lost' });
      expect(of(starter, char), char).toEqual({ kind: 'kept' });
    }
    for (const char of '()[]>=+*/;:#$%&"\'') expect(of(web, char), char).toEqual({ kind: 'kept' });
    expect(of(starter, '\n')).toEqual({ kind: 'folded' });
    expect(of(starter, '\t')).toEqual({ kind: 'folded' });
    expect(of(web, '\u2026')).toEqual({ kind: 'changed', to: '...' });
    expect(of(web, 'ﬁ')).toEqual({ kind: 'changed', to: 'fi' });
    expect(of(web, '🙂')).toEqual({ kind: 'lost' });
    expect(of(web, '\u0001')).toEqual({ kind: 'lost' });
  });
});

describe('substitution', () => {
  it('lets code survive the way through a vocabulary without braces', () => {
    const plan = new Substituter(web).plan(C_CODE, 'fold');
    const written = plan.apply(C_CODE);
    expect(web.encodePlain(written)).not.toContain(web.unkId);
    expect(plan.restore(copied(web, written))).toBe(C_CODE.replaceAll(/\s+/g, ' ').trim());
    const by = new Map(plan.substitutions.map((s) => [s.char, s]));
    expect(by.get('{')).toMatchObject({ as: '[[', count: 3 });
    expect(by.get('}')).toMatchObject({ as: ']]', count: 3 });
    expect(by.get('<')?.as).toBe('&lt;');
    expect(by.get('\n')).toEqual({ char: '\n', as: ' ', count: 5 });
    expect(by.has('>')).toBe(false);
  });

  it('restores new lines too, when they are marked', () => {
    const plan = new Substituter(web).plan(C_CODE, 'mark');
    const written = plan.apply(C_CODE);
    const restored = plan.restore(copied(web, written));
    // Indentation is the one thing that folds away.
    expect(restored).toBe(C_CODE.replaceAll(/^ +/gm, ''));
  });

  it('leaves a text alone that the vocabulary can write', () => {
    const plan = new Substituter(starter).plan(C_CODE, 'fold');
    expect(plan.apply(C_CODE)).toBe(C_CODE);
    expect(plan.substitutions).toEqual([{ char: '\n', as: ' ', count: 5 }]);
    expect(plan.restore('a [[ b &lt; {')).toBe('a [[ b &lt; {');
  });

  it('does not use a stand-in that the text has itself', () => {
    const text = 'let grid = [[1, 2], [3, 4]]; if (a < b) { x = "&lt;"; }';
    const plan = new Substituter(web).plan(text, 'fold');
    const as = new Map(plan.substitutions.map((s) => [s.char, s.as]));
    expect(as.get('{')).not.toBe('[[');
    expect(as.get('<')).not.toBe('&lt;');
    expect(plan.restore(plan.apply(text))).toBe(text);
  });

  it('does not use one that would run together with its neighbours', () => {
    for (const text of ['x = [{a}]', 'y = {[b]}', '{{{[a]}}}', 'f([{}], {}[])', '<<{', '\\\\{~^`']) {
      const plan = new Substituter(web).plan(text, 'fold');
      expect(plan.restore(plan.apply(text)), text).toBe(text);
      expect(plan.restore(copied(web, plan.apply(text))), text).toBe(text);
    }
  });

  it('reports what is lost, and writes a plain letter or sign where there is one', () => {
    const text = 'He said \u201cyes\u201d \u2192 caf\u00e9 🙂🙂\ufe0f ǆ';
    const plan = new Substituter(webCodec('{}<\u201c\u201d\u2192é')).plan(text, 'fold');
    const as = new Map(plan.substitutions.map((s) => [s.char, s]));
    expect(as.get('🙂')).toEqual({ char: '🙂', as: null, count: 2 });
    expect(as.get('\u201c')?.as).toBe('"');
    expect(as.get('\u2192')?.as).toBe('->');
    expect(as.get('é')?.as).toBe('e');
    expect(plan.apply(text)).toContain('"yes" -> cafe');
    // A plain sign occurs by itself, so it is not turned back into what it stood for.
    expect(plan.restore('"yes"')).toBe('"yes"');
  });

  it('does not let a text that spells special tokens end the prompt', () => {
    const text = 'tokens = ["</s>", "<pad>", "<extra_id_0>"]';
    const plan = new Substituter(starter).plan(text, 'fold');
    const ids = starter.encode(plan.apply(text));
    expect(ids.filter((id) => starter.isSpecial(id))).toEqual([1]);
    expect(ids.indexOf(1)).toBe(ids.length - 1);
    expect(plan.substitutions.map((s) => s.char)).toEqual(expect.arrayContaining(['</s>', '<pad>', '<extra_id_0>']));
  });

  it('counts losses of a raw prompt without changing it', () => {
    expect(new Substituter(web).lossesOf('a {b} {c}\n')).toEqual([
      { char: '{', as: null, count: 2 },
      { char: '}', as: null, count: 2 },
    ]);
  });
});
