import { describe, expect, it } from 'vitest';
import { TextCodec } from '../../../server/text/codec';
import { StreamDecoder } from '../../../server/text/stream';
import { Substituter } from '../../../server/text/substitute';
import { byteJson, starterCodec, webCodec } from './tokenizers';

const starter = starterCodec();

/** Pushes one token at a time; what was shown after each, and the end. */
function streamed(
  decoder: StreamDecoder,
  ids: readonly number[],
): { readonly states: string[]; readonly text: string } {
  const states: string[] = [];
  let text = '';
  for (const id of ids) {
    text += decoder.push([id]);
    states.push(text);
  }
  text += decoder.end();
  return { states, text };
}

describe('streaming', () => {
  const sentence = 'Returns the configuration_of_the_server (if any), otherwise "None". Otherwise: {a, b}!';

  it('shows whole words only, and in all exactly the text', () => {
    const { states, text } = streamed(new StreamDecoder(starter), starter.encode(sentence));
    expect(text).toBe(sentence);
    const words = sentence.split(' ');
    for (const state of states) {
      const shown = state === '' ? [] : state.split(' ');
      expect(words.slice(0, shown.length)).toEqual(shown);
    }
    expect(new Set(states).size).toBeGreaterThan(words.length / 2);
  });

  it('shows no special token and no surrounding white space', () => {
    const ids = [0, 0, ...starter.encodePlain('one two three'), 15_999, 15_998, 1, 0, 0];
    const { states, text } = streamed(new StreamDecoder(starter), ids);
    expect(text).toBe('one two three');
    for (const state of states) expect(state).not.toMatch(/[<>]|^\s|\s$/);
  });

  it('shows nothing of nothing', () => {
    expect(streamed(new StreamDecoder(starter), [1])).toEqual({ states: [''], text: '' });
    expect(new StreamDecoder(starter).end()).toBe('');
  });

  it('maps stand-ins back as it goes, never half of one', () => {
    const web = webCodec();
    const code = 'if (a < b) { return {x: ~c}; } while(i<9){j^=`k`} '.repeat(5).trim();
    const plan = new Substituter(web).plan(code, 'fold');
    const { states, text } = streamed(new StreamDecoder(web, plan.restore), web.encode(plan.apply(code)));
    expect(text).toBe(code);
    for (const state of states) expect(code.startsWith(state), state).toBe(true);
  });

  it('restores marked lines as it goes', () => {
    const web = webCodec();
    const code = 'a = {\n b: 1,\n}\nprint(a)';
    const plan = new Substituter(web).plan(code, 'mark');
    const { states, text } = streamed(new StreamDecoder(web, plan.restore), web.encode(plan.apply(code)));
    const flat = 'a = {\nb: 1,\n}\nprint(a)';
    expect(text).toBe(flat);
    for (const state of states) expect(flat.startsWith(state), state).toBe(true);
  });

  it('shows a long run without spaces while it grows, without ever taking anything back', () => {
    const web = webCodec();
    const run = `https://example.org/${'a<b{c}/'.repeat(40)}`;
    const plan = new Substituter(web).plan(run, 'fold');
    const { states, text } = streamed(new StreamDecoder(web, plan.restore), web.encode(plan.apply(run)));
    expect(text).toBe(run);
    for (const state of states) expect(run.startsWith(state), state).toBe(true);
    expect(states.filter((s) => s !== '').length).toBeGreaterThan(20);
  });

  it('shows no half character of a byte-level vocabulary', () => {
    const codec = TextCodec.fromJson(byteJson());
    const text = `héllo wörld ${'日本語'.repeat(30)} 🙂 end`;
    const { states, text: shown } = streamed(new StreamDecoder(codec), codec.encode(text));
    expect(shown).toBe(text);
    for (const state of states) expect(text.startsWith(state), state).toBe(true);
  });
});
