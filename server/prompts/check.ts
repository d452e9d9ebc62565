/** Judging predictions: when one agrees, which examples stand out, and what an edit changed. Pure. */
import type { CheckedExample, CheckReport } from '../protocol';
import { type PromptSet, shownExamples } from './set';

/** The endings of Flan's reasoning templates, and the nearest variants of them. The last one in a text counts. */
const FINAL = /\b(?:(?:the|my|our)\s+)?(?:final\s+)?answer\s*(?:is|:)\s*:?\s*(.+)$/is;

/** What a text that reasons comes to (`… Therefore, the final answer is 12.`); a text without such an ending, itself. */
export function finalAnswer(text: string): string {
  let rest = text.trim();
  for (let found = FINAL.exec(rest); found?.[1] !== undefined; found = FINAL.exec(rest)) rest = found[1].trim();
  return rest.replace(/\.$/, '').trim();
}

/** Case, white space and a last full stop aside. */
export function sameAnswer(a: string, b: string): boolean {
  const plain = (text: string) => finalAnswer(text).normalize('NFKC').toLowerCase().replaceAll(/\s+/g, ' ');
  return plain(a) === plain(b);
}

/** With fewer examples "usual" means nothing. */
const LEAST_EXAMPLES = 4;
/** Nats per token below the median that any odd example is at least: e, about a third of the probability of every token. */
const LEAST_DISTANCE = 1;
/** Times the median absolute deviation: for normal deviates about two standard deviations. */
const DEVIATIONS = 3;

/**
 * Indices of the examples that stand out: the model finds their own output much less likely than it finds the others'.
 * The rule: log-likelihood per token is below the median of all by more than 1 nat, and by more than 3 times the median
 * absolute deviation. Fewer than 4 examples have none.
 */
export function oddExamples(examples: readonly CheckedExample[]): number[] {
  const values = examples.flatMap(({ own }) => (own === undefined ? [] : [own.perToken]));
  if (values.length < LEAST_EXAMPLES) return [];
  const middle = median(values);
  const deviation = median(values.map((value) => Math.abs(value - middle)));
  const limit = middle - Math.max(LEAST_DISTANCE, DEVIATIONS * deviation);
  return examples.flatMap(({ index, own }) => (own !== undefined && own.perToken < limit ? [index] : []));
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const half = sorted.length >> 1;
  const upper = sorted[half] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[half - 1] ?? Number.NaN) + upper) / 2;
}

/** Totals of a check over these examples. */
export function summarize(examples: readonly CheckedExample[]): Pick<CheckReport, 'agreeing' | 'meanPerToken' | 'odd'> {
  const values = examples.flatMap(({ own }) => (own === undefined ? [] : [own.perToken]));
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return {
    agreeing: examples.filter(({ agrees }) => agrees).length,
    ...(values.length === 0 ? {} : { meanPerToken: mean }),
    odd: oddExamples(examples),
  };
}

/** One example's part of a baseline. The texts identify it: examples are moved and inserted. */
export interface BaselineExample {
  readonly input: string;
  readonly output: string;
  /** null: it failed. */
  readonly predicted: string | null;
  readonly agrees: boolean;
  readonly perToken: number | null;
}

/** The kept results of a check. Plain JSON. */
export interface Baseline {
  readonly version: 1;
  readonly model: string;
  readonly weights: string;
  readonly agreeing: number;
  readonly meanPerToken: number | null;
  readonly examples: readonly BaselineExample[];
}

/** Six digits: the last ones differ between machines, and a file that is reviewed should not. */
const rounded = (value: number | undefined) => (value === undefined ? null : Number(value.toPrecision(6)));

export function toBaseline(set: PromptSet, report: CheckReport): Baseline {
  const { model, weights, agreeing } = report;
  const examples = report.examples.flatMap(({ index, predicted, agrees, own }) => {
    const example = set.examples[index];
    if (example === undefined) return [];
    const { input, output } = example;
    const text = predicted.kind === 'answered' ? predicted.answer.text : null;
    return [{ input, output, predicted: text, agrees, perToken: rounded(own?.perToken) }];
  });
  return { version: 1, model, weights, agreeing, meanPerToken: rounded(report.meanPerToken), examples };
}

/** From this much on a change of log-likelihood per token is one; less comes from the order of sums. */
const LEAST_CHANGE = 0.1;

/**
 * `better`: agrees now and did not, or agrees as before and its own output became more likely by at least 0.1 nats per
 * token; `worse`: the other way round. `changed`: neither, but the prediction is another text. `new`: not in the baseline.
 */
export type Change = 'same' | 'changed' | 'better' | 'worse' | 'new';

export interface Compared {
  readonly index: number;
  readonly change: Change;
  /** Absent when new. */
  readonly before?: BaselineExample;
}

export interface Comparison {
  /** One for each example of the report, in its order. */
  readonly examples: readonly Compared[];
  /** Examples of the baseline that are shown no more. */
  readonly gone: readonly BaselineExample[];
  readonly counts: Readonly<Record<Change, number>>;
  /** The baseline was made by another model or other weights: then a change may not come from an edit. */
  readonly otherModel: boolean;
}

export function compareWithBaseline(baseline: Baseline, set: PromptSet, report: CheckReport): Comparison {
  const left = [...baseline.examples];
  const take = (input: string, output: string) => {
    const at = left.findIndex((old) => old.input === input && old.output === output);
    return at < 0 ? undefined : left.splice(at, 1)[0];
  };
  const counts: Record<Change, number> = { same: 0, changed: 0, better: 0, worse: 0, new: 0 };
  const examples = report.examples.map((checked): Compared => {
    const example = set.examples[checked.index];
    const before = example === undefined ? undefined : take(example.input, example.output);
    const change = before === undefined ? 'new' : changeOf(before, checked);
    counts[change]++;
    return { index: checked.index, change, ...(before === undefined ? {} : { before }) };
  });
  // An example that was not reached by a cancelled check is not gone.
  const shown = shownExamples(set).map((index) => set.examples[index]);
  const gone = left.filter((old) => !shown.some((now) => now?.input === old.input && now.output === old.output));
  const otherModel = baseline.model !== report.model || baseline.weights !== report.weights;
  return { examples, gone, counts, otherModel };
}

function changeOf(before: BaselineExample, now: CheckedExample): Change {
  if (now.agrees !== before.agrees) return now.agrees ? 'better' : 'worse';
  const difference = (now.own?.perToken ?? Number.NaN) - (before.perToken ?? Number.NaN);
  if (difference >= LEAST_CHANGE) return 'better';
  if (difference <= -LEAST_CHANGE) return 'worse';
  const text = now.predicted.kind === 'answered' ? now.predicted.answer.text : null;
  return text === before.predicted ? 'same' : 'changed';
}
