import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Decoder, Engine, Memory } from '../../../server/engine/engine';
import { CapacityError, DisposedError } from '../../../server/engine/errors';
import { CancelledError } from '../../../server/errors';
import { relativeError } from '../../parity/compare';
import { openEngine } from '../../parity/models';

const PROMPT = Int32Array.of(17, 4, 250, 33, 8, 91, 120, 5, 1);
const TOKENS = [0, 7, 200, 31, 64, 9];
/** Float32 sums in another order; a wrong position or mask is far above. */
const CLOSE = 1e-4;

// One model whose widths are no multiple of a block, one with a bias in every block; float32, and int8's split activations.
describe.each([
  ['silu-uneven', 'fp32'],
  ['silu-uneven', 'int8'],
  ['umt5', 'int8'],
] as const)('%s in %s', (model, form) => {
  let engine: Engine;
  let memory: Memory;
  beforeAll(async () => {
    engine = await openEngine(model, form, 'cpu');
    memory = await engine.encode(PROMPT);
  });
  afterAll(async () => {
    memory?.dispose();
    await engine?.dispose();
  });

  /** Logits after each of `tokens`, fed one by one to a fresh row. */
  async function oneByOne(tokens: readonly number[]): Promise<Float32Array[]> {
    const decoder = await engine.decoder(memory, 1, tokens.length);
    const logits: Float32Array[] = [];
    for (const token of tokens) logits.push(await step(decoder, [token], 1));
    decoder.dispose();
    return logits;
  }

  it('gives the same for several tokens in a step as for one by one', async () => {
    const expected = join(await oneByOne(TOKENS));
    const decoder = await engine.decoder(memory, 1, TOKENS.length);
    const logits = [await step(decoder, TOKENS.slice(0, 1), 1)];
    logits.push(await step(decoder, TOKENS.slice(1, 4), 3));
    logits.push(await step(decoder, TOKENS.slice(4), 2));
    expect(decoder.length).toBe(TOKENS.length);
    decoder.dispose();
    expect(relativeError(join(logits), expected)).toBeLessThan(CLOSE);
  });

  it('gives each of several rows what it gives the row alone', async () => {
    const rows = [TOKENS, [...TOKENS].reverse(), [0, 1, 2, 3, 4, 5]];
    const alone = await Promise.all(rows.map(oneByOne));
    const decoder = await engine.decoder(memory, rows.length, 6);
    const first = await step(
      decoder,
      rows.flatMap((row) => row.slice(0, 4)),
      4,
    );
    const second = await step(
      decoder,
      rows.flatMap((row) => row.slice(4)),
      2,
    );
    decoder.dispose();
    expect(relativeError(first, join(alone.flatMap((row) => row.slice(0, 4))))).toBeLessThan(CLOSE);
    expect(relativeError(second, join(alone.flatMap((row) => row.slice(4))))).toBeLessThan(CLOSE);
  });

  it('goes on from a shorter cache after truncate', async () => {
    const decoder = await engine.decoder(memory, 2, 8);
    await step(decoder, [...TOKENS, ...TOKENS], TOKENS.length);
    await decoder.truncate(2);
    expect(decoder.length).toBe(2);
    const logits = await step(decoder, [99, 50], 1);
    const expected = join([await last(oneByOne([0, 7, 99])), await last(oneByOne([0, 7, 50]))]);
    expect(relativeError(logits, expected)).toBeLessThan(CLOSE);
    await decoder.truncate(0);
    const again = await step(decoder, [0, 0], 1);
    expect(relativeError(again.subarray(again.length / 2), await last(oneByOne([0])))).toBeLessThan(CLOSE);
    decoder.dispose();
  });

  it('goes on from the parents after reorder', async () => {
    const decoder = await engine.decoder(memory, 3, 8);
    await step(decoder, [0, 0, 0], 1);
    await step(decoder, [10, 20, 30], 1);
    await decoder.reorder(Int32Array.of(2, 2, 0));
    const logits = await step(decoder, [5, 6, 7], 1);
    const expected = [
      [0, 30, 5],
      [0, 30, 6],
      [0, 10, 7],
    ].map((tokens) => last(oneByOne(tokens)));
    expect(relativeError(logits, join(await Promise.all(expected)))).toBeLessThan(CLOSE);
    decoder.dispose();
  });

  it('keeps decoders over one memory apart', async () => {
    const [a, b] = [await engine.decoder(memory, 1, 4), await engine.decoder(memory, 1, 4)];
    await step(a, [0], 1);
    await step(b, [0], 1);
    await step(a, [10], 1);
    await step(b, [20], 1);
    const logits = await step(a, [11], 1);
    a.dispose();
    b.dispose();
    expect(relativeError(logits, await last(oneByOne([0, 10, 11])))).toBeLessThan(CLOSE);
  });

  it('encodes in parts as in one, and stops between them', async () => {
    const inParts = await openEngine(model, form, 'cpu', { blocksPerPart: 1 });
    const parted = await inParts.encode(PROMPT);
    expect(relativeError(await parted.hidden(), await memory.hidden())).toBeLessThan(CLOSE);
    const decoder = await inParts.decoder(parted, 1, 1);
    expect(relativeError(await step(decoder, [0], 1), await last(oneByOne([0])))).toBeLessThan(CLOSE);
    decoder.dispose();
    parted.dispose();
    let looks = 0;
    const signal = {
      get stopped() {
        return ++looks > 1;
      },
    };
    await expect(inParts.encode(PROMPT, signal)).rejects.toThrow(CancelledError);
    expect(looks).toBe(2);
    await inParts.dispose();
  });
});

describe('wrong use', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine('relu-tied', 'int8', 'cpu');
  });

  it('is told', async () => {
    const memory = await engine.encode(PROMPT);
    const decoder = await engine.decoder(memory, 2, 3);
    await decoder.step(Int32Array.of(0, 0, 0, 0), 2, { kind: 'argmax' });
    await expect(decoder.step(Int32Array.of(1, 1, 1, 1), 2, { kind: 'argmax' })).rejects.toThrow(CapacityError);
    expect(decoder.length).toBe(2);
    await expect(decoder.step(Int32Array.of(1), 1, { kind: 'argmax' })).rejects.toThrow(RangeError);
    await expect(decoder.step(Int32Array.of(1, -1), 1, { kind: 'argmax' })).rejects.toThrow(RangeError);
    await expect(decoder.step(Int32Array.of(1, 256), 1, { kind: 'argmax' })).rejects.toThrow(RangeError);
    await expect(decoder.truncate(3)).rejects.toThrow(RangeError);
    await expect(decoder.reorder(Int32Array.of(0, 2))).rejects.toThrow(RangeError);
    await expect(engine.encode(new Int32Array(0))).rejects.toThrow(RangeError);
    await expect(engine.encode(Int32Array.of(256))).rejects.toThrow(RangeError);
    await expect(engine.encode(PROMPT, { stopped: true })).rejects.toThrow(CancelledError);
    // After all that the decoder still works.
    const { ids } = await decoder.step(Int32Array.of(3, 3), 1, { kind: 'argmax' });
    expect(ids).toHaveLength(2);
    decoder.dispose();
    memory.dispose();
  });

  it('may free twice, and not use what was freed', async () => {
    const memory = await engine.encode(PROMPT);
    const decoder = await engine.decoder(memory, 1, 3);
    decoder.dispose();
    decoder.dispose();
    await expect(decoder.step(Int32Array.of(0), 1, { kind: 'argmax' })).rejects.toThrow(DisposedError);
    const other = await engine.decoder(memory, 1, 3);
    memory.dispose();
    memory.dispose();
    await expect(other.step(Int32Array.of(0), 1, { kind: 'argmax' })).rejects.toThrow(DisposedError);
    await expect(memory.hidden()).rejects.toThrow(DisposedError);
    other.dispose();
    await engine.dispose();
    await engine.dispose();
    await expect(engine.encode(PROMPT)).rejects.toThrow(DisposedError);
  });
});

async function step(decoder: Decoder, tokens: readonly number[], perRow: number): Promise<Float32Array> {
  const { logits } = await decoder.step(Int32Array.from(tokens), perRow, { kind: 'logits' });
  if (logits === undefined) throw new Error('The engine gave no logits.');
  return logits;
}

function join(parts: readonly Float32Array[]): Float32Array {
  return Float32Array.from(parts.flatMap((part) => [...part]));
}

async function last(parts: Promise<Float32Array[]>): Promise<Float32Array> {
  return (await parts).at(-1) ?? new Float32Array(0);
}
