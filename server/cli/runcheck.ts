/** run --check: leave-one-out over the examples of a set, beside the results that were kept before. */
import { FlanError } from '../errors';
import { type Comparison, compareWithBaseline } from '../prompts/check';
import type { PromptSet } from '../prompts/set';
import { keepBaseline, loadBaseline } from '../prompts/store';
import { type CheckedExample, type CheckReport, Method, type PromptProgress } from '../protocol';
import { ServerClient } from './client';
import { interrupt } from './interrupt';
import type { Command } from './options';
import { type Output, showProgress } from './output';
import type { RunRequest } from './run';

class NoPlaceForBaselineError extends FlanError {
  constructor() {
    super(
      'no-baseline',
      'Results are kept beside the sets in .flan/prompts: put a copy of this set there, then check that one.',
    );
  }
}

export async function checkSet(request: RunRequest, command: Command, output: Output): Promise<void> {
  const { set, stored, choice, whenTooLong } = request;
  if (command.has('keep') && stored === undefined) throw new NoPlaceForBaselineError();
  const baseline = stored === undefined ? undefined : await loadBaseline(stored.files, stored.file);
  const stop = interrupt();
  const client = await ServerClient.open();
  try {
    const progress = showProgress(output);
    const hear = (p: PromptProgress) => {
      if (p.kind === 'checked') output.progressOf(p.at + 1, p.of);
      else if (p.kind !== 'outcome') progress(p);
    };
    const params = { ...choice, set, whenTooLong };
    const report = await client.requestWithProgress<CheckReport, PromptProgress>(
      Method.checkPrompt,
      params,
      hear,
      stop.token,
    );
    const comparison = baseline === undefined ? undefined : compareWithBaseline(baseline, set, report);
    if (command.json) output.json({ set: set.name, ...report, ...(comparison === undefined ? {} : { comparison }) });
    else print(set, report, comparison, output);
    if (command.has('keep') && stored !== undefined) {
      if (report.cancelled) output.note('Not kept: the check was stopped before its end.');
      else {
        await keepBaseline(stored.files, stored.file, set, report);
        output.note('Kept as the baseline.');
      }
    }
  } finally {
    client.close();
    stop.dispose();
  }
}

function print(set: PromptSet, report: CheckReport, comparison: Comparison | undefined, output: Output): void {
  const changes = new Map(comparison?.examples.map(({ index, change }) => [index, change]));
  const odd = new Set(report.odd);
  output.lines(
    report.examples.map((example) => {
      const marks = [odd.has(example.index) ? 'odd' : '', changes.get(example.index) ?? ''].filter(
        (mark) => mark !== '' && mark !== 'same',
      );
      return line(set, example, marks);
    }),
  );
  const { agreeing, meanPerToken, examples } = report;
  const mean = meanPerToken === undefined ? '' : `; mean log-likelihood per token ${meanPerToken.toFixed(2)}`;
  output.note(`${report.cancelled ? 'Stopped. ' : ''}${agreeing} of ${examples.length} agree${mean}.`);
  if (odd.size > 0) {
    output.note(
      "odd: the model finds the example's own output much less likely than those of the others. Look whether it is right.",
    );
  }
  if (comparison !== undefined) output.note(comparedWith(comparison));
  if (report.demo) output.note('Checked with the built-in demonstration model: expect little.');
}

function line(set: PromptSet, { index, agrees, own, predicted }: CheckedExample, marks: readonly string[]): string {
  const output = set.examples[index]?.output.trim() ?? '';
  const said = predicted.kind === 'answered' ? `predicted: ${oneLine(predicted.answer.text)}` : predicted.message;
  const likelihood = (own?.perToken.toFixed(2) ?? '').padStart(7);
  const text = agrees ? oneLine(output) : `${oneLine(output)}  (${said})`;
  const notes = marks.length === 0 ? '' : `  [${marks.join(', ')}]`;
  return `${String(index + 1).padStart(4)}  ${agrees ? 'agrees ' : 'differs'} ${likelihood}  ${text}${notes}`;
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}

function comparedWith({ counts, gone, otherModel }: Comparison): string {
  const kinds = (['better', 'worse', 'changed', 'same', 'new'] as const).filter((kind) => counts[kind] > 0);
  const list = kinds.map((kind) => `${counts[kind]} ${kind}`).join(', ');
  const removed = gone.length === 0 ? '' : `, ${gone.length} gone`;
  const other = otherModel ? ' The baseline was made with another model or other weights.' : '';
  return `Compared with the baseline: ${list}${removed}.${other}`;
}
