/** Tokenizers of folders without a tokenizer.json, against what sentencepiece and tokenizers recorded (see test/parity/reference). */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { TextCodec } from '../../../server/text/codec';
import { openTokenizer, TokenizerError } from '../../../server/text/folder';
import { SentencePieceBackend } from '../../../server/text/sentencepiece/backend';
import { readSentencePieceModel } from '../../../server/text/sentencepiece/model';
import { StreamDecoder } from '../../../server/text/stream';
import { Substituter } from '../../../server/text/substitute';

const FIXTURES = join(import.meta.dirname, '../../fixtures/tokenizers');

interface Row {
  readonly text: string;
  readonly ids: readonly number[];
  readonly decoded: string;
}
const recorded = JSON.parse(readFileSync(join(FIXTURES, 'recorded.json'), 'utf8')) as Readonly<Record<string, Row[]>>;

/** Texts that spell out a special token are split there by the model's tokenizer, not by the library that recorded. */
function rowsOf(name: string, special: readonly string[]): Row[] {
  const rows = (recorded[name] ?? []).filter(({ text }) => !special.some((token) => text.includes(token)));
  expect(rows.length).toBeGreaterThan(240);
  return rows;
}

describe.each(['t5', 'mt5'])("SentencePiece's own file (%s)", (name) => {
  it('gives its ids, and reads them back as it does', async () => {
    const backend = await openTokenizer(join(FIXTURES, name));
    const rows = rowsOf(
      name,
      backend.special.map(({ content }) => content),
    );
    for (const { text, ids, decoded } of rows) {
      expect(backend.encode(text, false), JSON.stringify(text)).toEqual(ids);
      const unknown = backend.unkId !== undefined && ids.includes(backend.unkId);
      if (!unknown && ids.length > 0) expect(backend.decode(ids), JSON.stringify(text)).toBe(decoded);
    }
  });

  it('gives the same ids through a codec', async () => {
    const codec = await TextCodec.open(join(FIXTURES, name));
    const rows = rowsOf(name, codec.specialTokens);
    for (const { text, ids } of rows) expect(codec.encodePlain(text), JSON.stringify(text)).toEqual(ids);
  });
});

describe('vocab.json with merges.txt', () => {
  it('give the ids of the library that CodeT5 was trained with, and all characters back', async () => {
    const codec = await TextCodec.open(join(FIXTURES, 'codet5'));
    const rows = rowsOf('codet5', codec.specialTokens);
    for (const { text, ids, decoded } of rows) {
      expect(codec.encode(text), JSON.stringify(text)).toEqual(ids);
      expect(codec.decode(ids), JSON.stringify(text)).toBe(decoded);
    }
  });
});

describe('a tokenizer.json with a table of normalizations', () => {
  it('gives the ids of the library that wrote it', () => {
    const { pieces, charsmap } = readSentencePieceModel(readFileSync(join(FIXTURES, 't5', 'spiece.model')));
    const special = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: true };
    const codec = TextCodec.fromJson({
      version: '1.0',
      added_tokens: ['<pad>', '</s>', '<unk>'].map((content, id) => ({ id, content, ...special })),
      normalizer: { type: 'Precompiled', precompiled_charsmap: Buffer.from(charsmap).toString('base64') },
      pre_tokenizer: {
        type: 'Sequence',
        pretokenizers: [{ type: 'WhitespaceSplit' }, { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' }],
      },
      post_processor: null,
      decoder: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always' },
      model: { type: 'Unigram', unk_id: 2, vocab: pieces.map(({ text, score }) => [text, score]) },
    });
    for (const { text, ids } of rowsOf('fast', codec.specialTokens)) {
      expect(codec.encodePlain(text), JSON.stringify(text)).toEqual(ids);
    }
  });
});

describe("T5's sentinels", () => {
  it('are added behind the pieces, from the last down, and are not part of an answer', async () => {
    const codec = await TextCodec.open(join(FIXTURES, 't5'));
    const { pieces } = readSentencePieceModel(readFileSync(join(FIXTURES, 't5', 'spiece.model')));
    const ids = codec.encodePlain('[NLG] Read this.<extra_id_0>');
    expect(ids.at(-1)).toBe(pieces.length + 99);
    expect(codec.encodePlain('<extra_id_99>')).toEqual([pieces.length]);
    expect(codec.decode(ids)).toBe('[NLG] Read this.');
    expect(codec.isSpecial(pieces.length + 99)).toBe(true);
    expect(codec.encode('a').at(-1)).toBe(1);
  });

  it('stand in the vocabulary of mT5', async () => {
    const codec = await TextCodec.open(join(FIXTURES, 'mt5'));
    expect(codec.specialTokens).toEqual(['<pad>', '</s>', '<unk>']);
    expect(codec.piece(codec.encodePlain('a <extra_id_0>').at(-1) ?? 0)).toBe('▁<extra_id_0>');
  });
});

describe('characters of several bytes', () => {
  const answer = 'Zählt 日本語 🙂 und 👨‍👩‍👧, {dann} naïve\n\tEnde 🏳️‍🌈';
  for (const name of ['codet5', 'mt5']) {
    it(`are never shown in halves (${name})`, async () => {
      const codec = await TextCodec.open(join(FIXTURES, name));
      const ids = codec.encodePlain(answer);
      const decoder = new StreamDecoder(codec);
      let shown = '';
      for (const id of ids) {
        shown += decoder.push([id]);
        expect(shown).not.toContain('\ufffd');
        expect(answer.replaceAll(/\s+/g, ' ').startsWith(shown.replaceAll(/\s+/g, ' '))).toBe(true);
      }
      shown += decoder.end();
      expect(shown.replaceAll(/\s+/g, ' ')).toBe(answer.replaceAll(/\s+/g, ' '));
    });

    it(`are left away when the answer ends inside one (${name})`, async () => {
      const codec = await TextCodec.open(join(FIXTURES, name));
      const ids = codec.encodePlain('yes 🙂');
      for (let cut = 1; cut < 4; cut++) {
        const decoder = new StreamDecoder(codec);
        expect(decoder.push(ids.slice(0, -cut)) + decoder.end()).toBe('yes');
      }
    });
  }
});

describe('what a vocabulary of bytes can write', () => {
  it('is everything: no stand-ins, and lines stay lines', async () => {
    const substituter = new Substituter(await TextCodec.open(join(FIXTURES, 'codet5')));
    const text = 'if (x < 3) {\n\treturn `y` ^ ~z | @w; // naïve 日本\n}';
    const plan = substituter.plan(text, 'fold');
    expect(plan.substitutions).toEqual([]);
    expect(plan.apply(text)).toBe(text);
  });
});

describe('damaged files', () => {
  const dir = mkdtempSync(join(tmpdir(), 'flan-tokenizers-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));
  const write = (name: string, content: string | Uint8Array) => writeFileSync(join(dir, name), content);

  it('are named, with what to do', async () => {
    write('vocab.json', '{"a": 0}');
    await expect(openTokenizer(dir)).rejects.toThrow(/merges\.txt is missing.*download the model again/);
    write('merges.txt', '#version: 0.2\na b\n');
    await expect(openTokenizer(dir)).rejects.toThrow(/merges\.txt and vocab\.json do not belong together/);
    write('vocab.json', '{"a": "0"}');
    await expect(openTokenizer(dir)).rejects.toThrow(/vocab\.json has no id for/);
    write('vocab.json', '[1]');
    await expect(openTokenizer(dir)).rejects.toThrow(/vocab\.json is not a JSON object/);
    const whole = readFileSync(join(FIXTURES, 't5', 'spiece.model'));
    for (const bytes of [whole.subarray(0, 1000), whole.subarray(0, 100_000), Buffer.from('not protobuf')]) {
      write('spiece.model', bytes);
      await expect(openTokenizer(dir)).rejects.toThrow(TokenizerError);
    }
  });

  it('never make the reader hang or fail in another way', () => {
    const whole = readFileSync(join(FIXTURES, 'mt5', 'spiece.model'));
    const table = readFileSync(join(FIXTURES, 't5', 'spiece.model'));
    let state = 7;
    const dice = (n: number) => {
      state = (Math.imul(state, 1103515245) + 12345) >>> 0;
      return (state >>> 8) % n;
    };
    const extras = { added: new Map<string, number>(), sentinels: 100, endToken: '</s>' };
    for (let round = 0; round < 300; round++) {
      const bytes = Uint8Array.from(round % 10 === 0 ? table : whole);
      for (let i = 0; i < 1 + dice(8); i++) bytes[dice(bytes.length)] = dice(256);
      try {
        const backend = new SentencePieceBackend(bytes, extras);
        const ids = backend.encode('Some text, naïve ½ 日本 <x>.', true);
        expect(ids.every((id) => Number.isInteger(id) && id >= 0)).toBe(true);
        backend.decode(ids);
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
      }
    }
  });
});
