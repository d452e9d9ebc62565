/** run: a prompt set on one input, on many, or checked against itself. What is done with SET and FILE is decided here. */
import { resolve } from 'node:path';
import { UsageError } from '../errors';
import { gallery } from '../prompts/gallery';
import { promptText } from '../prompts/render';
import { listSets } from '../prompts/store';
import { Method, type ModelChoice, type PromptCount, type WhenTooLong } from '../protocol';
import { ServerClient } from './client';
import { type Command, modelChoice } from './options';
import type { Output } from './output';
import { type FoundSet, filesIn, findSet, promptsFolder } from './promptfiles';
import { checkSet } from './runcheck';
import { readInputs } from './runinputs';
import { runMany } from './runmany';
import { runOne } from './runone';

/** What every kind of run is given. */
export interface RunRequest extends FoundSet {
  readonly choice: ModelChoice;
  readonly whenTooLong: WhenTooLong;
}

export async function runSet(command: Command, output: Output): Promise<void> {
  const [name, file, ...others] = command.positionals;
  if (command.has('list')) return listAll(command, output);
  if (name === undefined) {
    throw new UsageError('run needs a prompt set and a file: flan run SET FILE. Which sets there are: flan run --list');
  }
  if (others.length > 0) throw new UsageError('run takes one file: flan run SET FILE, or - for standard input.');
  const text = command.value('input');
  const check = command.has('check');
  const given = [file !== undefined, text !== undefined, check].filter(Boolean).length;
  if (given !== 1 && !(given === 0 && command.has('dry-run'))) {
    throw new UsageError('run needs one of these: a FILE, --input TEXT, or --check. See: flan run --help');
  }
  checkCombinations(command, file !== undefined);

  const request: RunRequest = {
    ...(await findSet(name, process.cwd())),
    choice: modelChoice(command),
    whenTooLong: command.has('drop') ? 'drop' : 'refuse',
  };
  if (check) return checkSet(request, command, output);
  const inputs = file === undefined ? undefined : readInputs(file, command);
  const only = text ?? (inputs !== undefined && command.has('whole') ? inputs.rows[0]?.input : undefined);
  if (command.has('dry-run')) return show(request, only ?? inputs?.rows[0]?.input ?? '', command, output);
  if (only !== undefined) return runOne(request, only, command, output);
  if (inputs !== undefined) return runMany(request, inputs, command, output);
}

function checkCombinations(command: Command, hasFile: boolean): void {
  const needs = (option: string, other: string, there: boolean) => {
    if ((command.has(option) || command.value(option) !== undefined) && !there) {
      throw new UsageError(`--${option} goes only with ${other}. See: flan run --help`);
    }
  };
  for (const option of ['whole', 'column', 'format', 'header', 'no-header', 'out', 'jsonl', 'csv']) {
    needs(option, 'a FILE', hasFile);
  }
  const out = command.value('out');
  if (out === '') throw new UsageError('--out needs the name of a file.');
  const file = command.positionals[1];
  if (out !== undefined && file !== undefined && resolve(out) === resolve(file)) {
    throw new UsageError(`--out would replace ${file} itself: give the results another name.`);
  }
  needs('keep', '--check', command.has('check'));
  needs('resume', '--out FILE', command.value('out') !== undefined);
  if (command.has('header') && command.has('no-header'))
    throw new UsageError('Give --header or --no-header, not both.');
  if (['json', 'jsonl', 'csv'].filter((format) => command.has(format)).length > 1) {
    throw new UsageError('Give one of --json, --jsonl and --csv.');
  }
  if (
    command.has('whole') &&
    ['column', 'format', 'out', 'jsonl', 'csv'].some((o) => command.has(o) || command.value(o))
  ) {
    throw new UsageError(
      '--whole is one input with one answer: leave --column, --format, --out, --jsonl and --csv away.',
    );
  }
}

async function listAll(command: Command, output: Output): Promise<void> {
  const folder = promptsFolder(process.cwd());
  const stored = folder === undefined ? [] : await listSets(filesIn(folder));
  const own = stored.map((one) => {
    const name = one.file.replace(/\.json$/, '');
    return one.kind === 'set'
      ? { name, title: one.set.name, description: one.set.description ?? '', from: 'workspace' }
      : { name, title: '', description: one.error.message, from: 'broken' };
  });
  const ready = gallery().map(({ id, set }) => {
    return { name: id, title: set.name, description: set.description ?? '', from: 'gallery' };
  });
  const all = [...own, ...ready];
  if (command.json) {
    output.json(all);
    return;
  }
  const width = Math.max(...all.map(({ name }) => name.length));
  output.lines(all.map(({ name, description, from }) => `${name.padEnd(width)}  ${from.padEnd(9)}  ${description}`));
}

/** The prompt as people read it, and its size, with nothing sent to a model. */
async function show({ set, choice }: RunRequest, input: string, command: Command, output: Output): Promise<void> {
  const client = await ServerClient.open();
  try {
    const counted = await client.request<PromptCount>(Method.countPrompt, { ...choice, set, input });
    if (command.json) {
      output.json({ prompt: promptText(set, input), ...counted });
      return;
    }
    output.lines([promptText(set, input)]);
    const { total, window, instruction, query, examples, model, trainedLength } = counted;
    const sum = examples.reduce((all, { tokens }) => all + tokens, 0);
    output.note(
      `${total} of ${window} tokens (${model}): instruction ${instruction}, examples ${sum}, input ${query}.`,
    );
    if (total > trainedLength && counted.fits) {
      output.note(`${model} was trained on prompts of up to ${trainedLength} tokens: expect less of a longer one.`);
    }
    const away = examples.flatMap(({ fits }, at) => (fits ? [] : [at + 1]));
    if (away.length > 0) output.note(`Too long: examples ${away.join(', ')} do not fit.`);
  } finally {
    client.close();
  }
}
