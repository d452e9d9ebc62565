/** Tries every reader with damaged input and collects what must not have happened. */
import { setTimeout } from 'node:timers/promises';
import { Mutator } from './mutate';
import { isRefusal, type Target, Violation } from './target';
import { config, tokenizerTarget } from './texts';
import { pickle, safetensors, shardIndex, weightFileTarget, zip } from './weights';

export interface Outcome {
  readonly target: string;
  readonly tried: number;
  readonly refused: number;
  /** What was found: the message, and how to see it again. */
  readonly found: readonly string[];
  /** The slowest input, in milliseconds. */
  readonly slowestMs: number;
}

/** All readers, and how many of a hundred inputs each gets: those that need the disk are slower. */
export async function allTargets(): Promise<{
  readonly targets: readonly (readonly [Target, number])[];
  dispose(): void;
}> {
  const weights = await weightFileTarget();
  const tokenizers = tokenizerTarget();
  return {
    targets: [
      [safetensors, 22],
      [shardIndex, 16],
      [zip, 18],
      [pickle, 22],
      [config, 14],
      [weights, 4],
      [tokenizers, 4],
    ],
    dispose() {
      weights.dispose();
      tokenizers.dispose();
    },
  };
}

/** An input that takes longer counts as a hang. Readers take less than a millisecond. */
const HANG_MS = 20_000;
/** Memory that one run may take more than it began with: the readers' own bounds, several times. */
const MAX_GROWTH_BYTES = 1.5e9;
/** Findings of one target: more of the same help nobody. */
const MAX_FOUND = 5;

/**
 * Tries one target.
 *
 * @param seed gives the same inputs for the same number.
 */
export async function fuzz(target: Target, count: number, seed: number): Promise<Outcome> {
  const mutator = new Mutator(seed, target.words);
  const found: string[] = [];
  let [refused, slowestMs, tried] = [0, 0, 0];
  const before = process.memoryUsage().rss;
  for (; tried < count && found.length < MAX_FOUND; tried++) {
    const input = target.damage(mutator);
    const start = performance.now();
    try {
      await Promise.race([target.read(input), hang()]);
    } catch (error) {
      if (isRefusal(error)) refused++;
      else {
        const what =
          error instanceof Error ? (error instanceof Violation ? error.message : error.stack) : String(error);
        found.push(`${what}\n  input ${tried} of seed ${seed}: ${input.bytes.toString('base64').slice(0, 2000)}`);
      }
    }
    const took = performance.now() - start;
    slowestMs = Math.max(slowestMs, took);
    if (took > HANG_MS) found.push(`input ${tried} of seed ${seed} took ${took.toFixed(0)} ms`);
    // Timers and other work have their turn, as they have between two files.
    if (tried % 100 === 0) await setTimeout(0);
  }
  const growth = process.memoryUsage().rss - before;
  if (growth > MAX_GROWTH_BYTES) found.push(`memory grew by ${(growth / 1e6).toFixed(0)} MB`);
  return { target: target.name, tried, refused, found, slowestMs };
}

/** For a reader that waits for what never comes; one that computes for ever is seen by whoever waits for the whole run. */
async function hang(): Promise<never> {
  await setTimeout(HANG_MS, undefined, { ref: false });
  throw new Violation('nothing came back');
}
