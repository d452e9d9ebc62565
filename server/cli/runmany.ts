/**
 * A prompt set on many inputs. Results are printed as they come; with --out they are kept in a journal beside the file
 * until all are there, so that a run that was stopped, by whatever, goes on where it was.
 */
import { appendFileSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { FlanError } from '../errors';
import { journalHeader, journalLine, type RunIdentity, readJournal } from '../prompts/journal';
import type { ResultRow } from '../prompts/results';
import {
  Method,
  type PromptCount,
  type PromptOutcome,
  type PromptProgress,
  type RunManyResult,
  type Substitution,
} from '../protocol';
import { ServerClient } from './client';
import { interrupt } from './interrupt';
import { substitutionNote } from './notes';
import type { Command } from './options';
import { type Output, showProgress } from './output';
import { UnwritableFileError, writeRenamed } from './promptfiles';
import type { RunRequest } from './run';
import type { Inputs } from './runinputs';
import { ResultWriter } from './runresults';

/** Inputs of one request, by number and by characters: far below the longest message. */
const BATCH_INPUTS = 500;
const BATCH_CHARS = 1_000_000;

class UnfinishedRunError extends FlanError {
  constructor(partial: string, count: number) {
    super(
      'unfinished-run',
      `${partial} holds ${count} results of a run that was stopped. Go on with --resume, or delete that file.`,
    );
  }
}

export class OtherRunError extends FlanError {
  constructor(partial: string) {
    super(
      'other-run',
      `${partial} belongs to another version of the set, or to another model, so its results do not fit. Delete it to start anew.`,
    );
  }
}

export async function runMany(request: RunRequest, inputs: Inputs, command: Command, output: Output): Promise<void> {
  const stop = interrupt();
  const client = await ServerClient.open();
  try {
    for (const note of inputs.notes) output.note(note);
    const out = command.value('out');
    const journal = out === undefined ? undefined : await openJournal(request, out, command.has('resume'), client);
    const known = new Map(journal?.outcomes);
    if (known.size > 0) output.note(`Going on: ${known.size} results are there.`);

    const writer = new ResultWriter(command, output, inputs, request.set);
    const progress = showProgress(output);
    let answerer: RunManyResult | undefined;
    /** The next input without a result. */
    let next = 0;
    const rows: ResultRow[] = [];
    const emit = () => {
      for (; next < inputs.rows.length; next++) {
        const row = inputs.rows[next];
        const outcome = row === undefined ? undefined : known.get(row.input);
        if (row === undefined || outcome === undefined) break;
        const result = { ...row, outcome };
        rows.push(result);
        writer.add(result);
      }
      output.progressOf(next, inputs.rows.length);
    };
    emit();
    while (next < inputs.rows.length && !stop.token.isCancellationRequested) {
      const batch = nextBatch(inputs, next, known);
      const hear = (p: PromptProgress) => {
        if (p.kind !== 'outcome') {
          if (p.kind !== 'checked') progress(p);
          return;
        }
        const input = batch[p.at] ?? '';
        known.set(input, p.outcome);
        journal?.add(input, p.outcome);
        emit();
      };
      const { set, choice, whenTooLong } = request;
      const params = { ...choice, set, inputs: batch, whenTooLong };
      answerer = await client.requestWithProgress<RunManyResult, PromptProgress>(
        Method.runPromptMany,
        params,
        hear,
        stop.token,
      );
      if (answerer.cancelled) break;
    }
    const cancelled = next < inputs.rows.length;
    finish({ request, inputs, rows, cancelled, answerer, out, journal, writer, output });
  } finally {
    client.close();
    stop.dispose();
  }
}

/** Inputs from `next` on that have no result yet, each once. */
function nextBatch(inputs: Inputs, next: number, known: ReadonlyMap<string, PromptOutcome>): string[] {
  const batch = new Set<string>();
  let chars = 0;
  for (let at = next; at < inputs.rows.length && batch.size < BATCH_INPUTS && chars < BATCH_CHARS; at++) {
    const input = inputs.rows[at]?.input ?? '';
    if (known.has(input) || batch.has(input)) continue;
    batch.add(input);
    chars += input.length;
  }
  return [...batch];
}

interface Journal {
  readonly path: string;
  readonly outcomes: ReadonlyMap<string, PromptOutcome>;
  add(input: string, outcome: PromptOutcome): void;
}

/** @throws UnfinishedRunError, OtherRunError, UnwritableFileError */
async function openJournal(
  { set, choice, whenTooLong }: RunRequest,
  out: string,
  resume: boolean,
  client: ServerClient,
): Promise<Journal> {
  const path = `${out}.partial`;
  // Which model would answer is known without loading it.
  const { model } = await client.request<PromptCount>(Method.countPrompt, { ...choice, set });
  const identity: RunIdentity = { set, model, weights: choice.weights ?? 'int8', whenTooLong };
  let outcomes = new Map<string, PromptOutcome>();
  if (existsSync(path)) {
    const text = readFileSync(path, 'utf8');
    const found = readJournal(text, identity);
    if (!resume && (found === undefined || found.size > 0)) {
      throw new UnfinishedRunError(path, found?.size ?? Math.max(0, text.trim().split('\n').length - 1));
    }
    if (found === undefined) throw new OtherRunError(path);
    outcomes = found;
  }
  const lines = [...outcomes].map(([input, outcome]) => journalLine(input, outcome));
  try {
    // Written anew: a line that a crash cut off would swallow the next one.
    writeFileSync(path, journalHeader(identity) + lines.join(''));
  } catch (error) {
    throw new UnwritableFileError(path, error);
  }
  return { path, outcomes, add: (input, outcome) => appendFileSync(path, journalLine(input, outcome)) };
}

/** What was not as the user may think, over all answers. */
function notesOf(rows: readonly ResultRow[]): string[] {
  const answers = rows.flatMap(({ outcome }) => (outcome.kind === 'answered' ? [outcome.answer] : []));
  const cut = answers.filter(({ finishReason }) => finishReason === 'length').length;
  const shortened = answers.filter(({ dropped }) => dropped.length > 0).length;
  const characters = new Map<string, Substitution>();
  for (const { substitutions } of answers) for (const one of substitutions) characters.set(one.char, one);
  return [
    ...(cut > 0 ? [`${cut} of the answers were cut, or ended where they repeated themselves.`] : []),
    ...(shortened > 0 ? [`For ${shortened} of the inputs examples were left away: the prompt was too long.`] : []),
    ...(characters.size > 0 ? [substitutionNote([...characters.values()])] : []),
  ];
}

interface Ended {
  readonly request: RunRequest;
  readonly inputs: Inputs;
  readonly rows: readonly ResultRow[];
  readonly cancelled: boolean;
  readonly answerer: RunManyResult | undefined;
  readonly out: string | undefined;
  readonly journal: Journal | undefined;
  readonly writer: ResultWriter;
  readonly output: Output;
}

function finish({ inputs, rows, cancelled, answerer, out, journal, writer, output }: Ended): void {
  const failures = rows.flatMap(({ line, outcome }) => (outcome.kind === 'failed' ? [{ line, ...outcome }] : []));
  if (failures.length > 0) process.exitCode = 1;
  const text = writer.end({ cancelled, answerer });
  for (const { line, message } of failures.slice(0, 5)) output.note(`${inputs.name}, line ${line}: ${message}`);
  const done = `${rows.length - failures.length} of ${inputs.rows.length} inputs answered`;
  const more = failures.length > 0 ? `, ${failures.length} failed` : '';
  for (const note of notesOf(rows)) output.note(note);
  if (answerer?.demo === true) output.note('Answered by the built-in demonstration model: expect little.');
  if (journal === undefined || out === undefined) {
    output.note(`${cancelled ? 'Stopped: ' : ''}${done}${more}.`);
  } else if (cancelled) {
    const left =
      rows.length === 0 ? 'Nothing was done yet' : `${journal.path} holds them; the same command with --resume goes on`;
    output.note(`Stopped: ${done}${more}. ${left}.`);
    if (journal.outcomes.size === 0 && rows.length === 0) rmSync(journal.path, { force: true });
  } else {
    writeRenamed(out, text);
    rmSync(journal.path, { force: true });
    output.note(`${done}${more}, written to ${out}.`);
  }
}
