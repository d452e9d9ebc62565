/** How results of many inputs are written: plain answers, JSON lines, CSV, or one JSON object; to standard output or a file. */
import { type CsvLayout, csvHeader, csvRow, type ResultRow, resultJsonLine, resultRecord } from '../prompts/results';
import type { PromptSet } from '../prompts/set';
import type { RunManyResult } from '../protocol';
import type { Command } from './options';
import type { Output } from './output';
import type { Inputs } from './runinputs';

type Format = 'text' | 'csv' | 'jsonl' | 'json';

export class ResultWriter {
  readonly #format: Format;
  readonly #layout: CsvLayout;
  readonly #output: Output;
  readonly #toFile: boolean;
  readonly #set: PromptSet;
  #text = '';
  readonly #rows: ResultRow[] = [];

  /** The format is the one asked for; with --out FILE otherwise that of its ending. */
  constructor(command: Command, output: Output, inputs: Inputs, set: PromptSet) {
    const out = command.value('out');
    this.#output = output;
    this.#toFile = out !== undefined;
    this.#set = set;
    this.#format = asked(command) ?? byEnding(out ?? '') ?? 'text';
    const options = (set.options ?? []).length > 0;
    this.#layout = { options, ...(inputs.columns === undefined ? {} : { columns: inputs.columns }) };
    if (this.#format === 'csv') this.#write(csvHeader(this.#layout));
  }

  add(row: ResultRow): void {
    switch (this.#format) {
      case 'text':
        // One line for each input, also for one without an answer: lines can be put side by side.
        this.#write(`${row.outcome.kind === 'answered' ? row.outcome.answer.text.replaceAll(/\s*\n\s*/g, ' ') : ''}\n`);
        break;
      case 'csv':
        this.#write(csvRow(row, this.#layout));
        break;
      case 'jsonl':
        this.#write(resultJsonLine(row));
        break;
      case 'json':
        this.#rows.push(row);
        break;
    }
  }

  /** Prints what was not printed yet. Returns the content of the file. */
  end(how: { readonly cancelled: boolean; readonly answerer: RunManyResult | undefined }): string {
    if (this.#format !== 'json') return this.#text;
    const { answered: _, failed: __, cancelled: ___, ...answerer } = how.answerer ?? {};
    const object = {
      set: this.#set.name,
      ...answerer,
      answered: this.#rows.filter(({ outcome }) => outcome.kind === 'answered').length,
      failed: this.#rows.filter(({ outcome }) => outcome.kind === 'failed').length,
      cancelled: how.cancelled,
      results: this.#rows.map(resultRecord),
    };
    if (!this.#toFile) this.#output.json(object);
    return `${JSON.stringify(object, null, 2)}\n`;
  }

  #write(text: string): void {
    if (this.#toFile) this.#text += text;
    else this.#output.text(text);
  }
}

function asked(command: Command): Format | undefined {
  return (['json', 'jsonl', 'csv'] as const).find((format) => command.has(format));
}

function byEnding(out: string): Format | undefined {
  const ending = /\.(\w+)$/.exec(out)?.[1]?.toLowerCase();
  if (ending === 'ndjson') return 'jsonl';
  return (['json', 'jsonl', 'csv'] as const).find((format) => format === ending);
}
