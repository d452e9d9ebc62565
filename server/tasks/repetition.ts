/**
 * Stops an answer that has begun to repeat itself without end, which small models do. The tokens so far stay as they
 * are; the answer says that it was stopped there.
 */
import type { Guard } from '../generate/generate';

/** A list or a table repeats a short pattern a few times by right; this often, one after the other, it is a loop. */
const REPEATS = 4;
/** Short loops must go on longer than that before they count: `- - - -` or `0, 0, 0, 0` can be an answer. */
const LEAST_TOKENS = 16;
/** The longest loop looked for, in tokens: about a sentence and a half. */
const LONGEST = 48;

/** True when the last tokens are one run of tokens, at least four times and 16 tokens in all. */
export const endlessRepetition: Guard = (ids) => {
  const n = ids.length;
  for (let period = 1; period <= LONGEST; period++) {
    const span = Math.max(REPEATS * period, LEAST_TOKENS);
    if (span > n) break;
    let i = 1;
    while (i <= span - period && ids[n - i] === ids[n - i - period]) i++;
    if (i > span - period) return true;
  }
  return false;
};
