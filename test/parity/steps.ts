/** Decoder steps over given tokens, in the ways that the loop uses an engine: together, one by one, several rows. */
import type { Decoder, Engine, Memory } from '../../server/engine/engine';

export interface FirstValues {
  /** float32 [source tokens, dModel]. */
  readonly hidden: Float32Array;
  /** float32 [targets, vocabSize]. */
  readonly logits: Float32Array;
}

/** Encoder output, and the logits at every position of forced targets. */
export async function forced(
  engine: Engine,
  promptIds: readonly number[],
  targets: readonly number[],
): Promise<FirstValues> {
  return withDecoder(engine, promptIds, 1, targets.length, async (decoder, memory) => {
    const fed = inputOf(engine, targets);
    const { logits } = await decoder.step(fed, fed.length, { kind: 'logits' });
    if (logits === undefined) throw new Error('The engine gave no logits.');
    return { hidden: await memory.hidden(), logits };
  });
}

/** The start token, then the targets without the last. */
export function inputOf(engine: Engine, targets: readonly number[]): Int32Array {
  return Int32Array.from([engine.config.decoderStartId, ...targets.slice(0, -1)]);
}

export async function withDecoder<T>(
  engine: Engine,
  promptIds: readonly number[],
  rows: number,
  capacity: number,
  use: (decoder: Decoder, memory: Memory) => Promise<T>,
): Promise<T> {
  const memory = await engine.encode(Int32Array.from(promptIds));
  try {
    const decoder = await engine.decoder(memory, rows, capacity);
    try {
      return await use(decoder, memory);
    } finally {
      decoder.dispose();
    }
  } finally {
    memory.dispose();
  }
}

/**
 * Mean log-probability of each of some answers, each in a row of its own. On the way, what a beam search and speculation
 * do: the rows start in another order and are put right after the first step, and wrong tokens are fed and dropped again.
 */
export async function scoresInRows(
  engine: Engine,
  promptIds: readonly number[],
  answers: readonly (readonly number[])[],
): Promise<number[]> {
  const rows = answers.length;
  const longest = Math.max(...answers.map((ids) => ids.length));
  const end = engine.config.eosId;
  const at = (row: number, i: number): number => answers[row]?.[i] ?? end;
  return withDecoder(engine, promptIds, rows, longest + 2, async (decoder) => {
    const sums = Array<number>(rows).fill(0);
    const others = Int32Array.from({ length: rows }, (_, row) => (row + 1) % rows);
    for (let i = 0; i < longest; i++) {
      // Up to the second step, row r works on the answer of the next row; then each takes over its own answer's cache.
      const answerOf = (row: number) => (i < 2 ? (others[row] ?? 0) : row);
      if (i === 2) await decoder.reorder(Int32Array.from({ length: rows }, (_, row) => (row + rows - 1) % rows));
      const tokens = Int32Array.from({ length: rows }, (_, row) =>
        i === 0 ? engine.config.decoderStartId : at(answerOf(row), i - 1),
      );
      const targets = Int32Array.from({ length: rows }, (_, row) => at(answerOf(row), i));
      if (i === 3) {
        const wrong = Int32Array.from({ length: 2 * rows }, (_, t) => 3 + t);
        await decoder.step(wrong, 2, { kind: 'argmax' });
        await decoder.truncate(i);
      }
      const { logprobs } = await decoder.step(tokens, 1, { kind: 'score', targets });
      for (let row = 0; row < rows; row++) {
        const answer = answerOf(row);
        if (i < (answers[answer]?.length ?? 0)) sums[answer] = (sums[answer] ?? 0) + (logprobs[row] ?? NaN);
      }
    }
    return sums.map((sum, row) => sum / (answers[row]?.length ?? 0));
  });
}

/**
 * Where an engine would leave a recorded greedy answer, each step looked at after the recorded ones before it, whatever it
 * would have said itself: the step, and by how much its own choice is ahead there.
 */
export async function departures(
  engine: Engine,
  promptIds: readonly number[],
  ids: readonly number[],
): Promise<{ readonly at: number; readonly ahead: number }[]> {
  const { logits } = await forced(engine, promptIds, ids);
  const vocab = logits.length / ids.length;
  return ids.flatMap((id, at) => {
    const row = logits.subarray(at * vocab, (at + 1) * vocab);
    const ahead = row.reduce((most, value) => Math.max(most, value), Number.NEGATIVE_INFINITY) - (row[id] ?? NaN);
    return ahead === 0 ? [] : [{ at, ahead }];
  });
}
