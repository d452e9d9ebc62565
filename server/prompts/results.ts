/** Results of a run on many inputs as text: JSON lines and CSV, for other programs and for spreadsheets. Pure. */
import type { PromptOutcome } from '../protocol';

/** One input with what became of it. */
export interface ResultRow {
  /** 1-based line of the file that the input came from. */
  readonly line: number;
  readonly input: string;
  readonly outcome: PromptOutcome;
  /** All cells of the row in its table. */
  readonly cells?: readonly string[];
}

/**
 * One object: `line`, `input`, then `output`, `logprob`, `finishReason` and, where the set has them, `probability` with
 * `options` (name to probability) or `votes` (answer to number) with `sample`; or `error` {`code`, `message`}.
 */
export function resultRecord({ line, input, outcome }: ResultRow): Readonly<Record<string, unknown>> {
  if (outcome.kind === 'failed') return { line, input, error: { code: outcome.code, message: outcome.message } };
  const { text, logprob, finishReason, repeated, options, votes, sample, dropped } = outcome.answer;
  return {
    line,
    input,
    output: text,
    logprob,
    finishReason,
    ...(repeated === true ? { repeated } : {}),
    ...(options === undefined
      ? {}
      : {
          probability: options.find(({ option }) => option === text)?.probability,
          options: Object.fromEntries(options.map(({ option, probability }) => [option, probability])),
        }),
    ...(votes === undefined ? {} : { votes: Object.fromEntries(votes.map(({ answer, count }) => [answer, count])) }),
    ...(sample === undefined ? {} : { sample }),
    ...(dropped.length === 0 ? {} : { dropped: dropped.map((index) => index + 1) }),
  };
}

/** With a new line at its end. */
export function resultJsonLine(row: ResultRow): string {
  return `${JSON.stringify(resultRecord(row))}\n`;
}

/** Columns of results: those of the table that the inputs came from, or `line` and `input`; then what is new. */
export interface CsvLayout {
  readonly columns?: readonly string[];
  /** The set has options: a column `probability`. */
  readonly options: boolean;
}

const NEW = ['output', 'probability', 'error'] as const;

/** The first line of the CSV. A new column whose name the table has already is called `flan output` and so on. */
export function csvHeader({ columns = ['line', 'input'], options }: CsvLayout): string {
  const added = NEW.filter((name) => options || name !== 'probability');
  return csvLine([...columns, ...added.map((name) => (columns.includes(name) ? `flan ${name}` : name))]);
}

export function csvRow({ line, input, outcome, cells }: ResultRow, { columns, options }: CsvLayout): string {
  const own = columns?.map((_, at) => cells?.[at] ?? '') ?? [String(line), input];
  if (outcome.kind === 'failed') return csvLine([...own, '', ...(options ? [''] : []), outcome.message]);
  const { text, options: scores } = outcome.answer;
  const probability = scores?.find(({ option }) => option === text)?.probability;
  return csvLine([...own, text, ...(options ? [probability?.toFixed(4) ?? ''] : []), '']);
}

/** Quoted where it must be (RFC 4180), with a new line at its end. */
export function csvLine(cells: readonly string[]): string {
  const written = cells.map((cell) => (/[",\r\n]|^\s|\s$/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell));
  return `${written.join(',')}\n`;
}
