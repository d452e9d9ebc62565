/** explain, summarize, ask, generate: one request to the server, its text streamed as it comes. */
import { FlanError, UsageError } from '../errors';
import { Method, type RunParams, type RunResult } from '../protocol';
import { cancelledResult } from '../runtime/cancelled';
import { ServerClient } from './client';
import { interrupt } from './interrupt';
import { notesOf } from './notes';
import { type Command, decoding, modelChoice, modeToken } from './options';
import { type Output, showProgress } from './output';
import { readSource, type Source } from './source';

export async function runTask(command: Command, output: Output): Promise<void> {
  const { params, sources } = request(command);
  const stop = interrupt();
  try {
    const result = await ask(params, output, stop.token);
    if (command.json) {
      output.json(result);
      return;
    }
    output.endText(result.text);
    for (const note of notesOf(result, sources)) output.note(note);
  } finally {
    stop.dispose();
  }
}

async function ask(
  params: RunParams,
  output: Output,
  token: ReturnType<typeof interrupt>['token'],
): Promise<RunResult> {
  const client = await ServerClient.open();
  try {
    if (token.isCancellationRequested) return cancelledResult(params, undefined);
    return await client.requestWithProgress<RunResult>(Method.run, params, showProgress(output), token);
  } finally {
    client.close();
  }
}

function request(command: Command): { readonly params: RunParams; readonly sources: readonly Source[] } {
  const choice = { ...modelChoice(command), ...decoding(command), ...modeToken(command) };
  switch (command.name) {
    case 'explain': {
      const [file, ...others] = command.positionals;
      if (file === undefined || others.length > 0) {
        throw new UsageError('explain takes one file: flan explain FILE[:FROM-TO], or - for standard input.');
      }
      return about('explain', [file], choice);
    }
    case 'summarize':
      if (command.positionals.length === 0) {
        throw new UsageError('summarize needs a file: flan summarize FILE…, or - for standard input.');
      }
      return about('summarize', command.positionals, choice);
    case 'ask': {
      const [question, ...files] = command.positionals;
      if (question === undefined || question.trim() === '' || files.length === 0) {
        throw new UsageError('ask needs a question and a file: flan ask "QUESTION" FILE…, or - for standard input.');
      }
      const { params, sources } = about('ask', files, choice);
      return { params: { ...params, question }, sources };
    }
    default:
      if (command.positionals.length > 0) {
        throw new UsageError(`generate takes no file: flan generate --prompt TEXT, or --prompt-file FILE.`);
      }
      return { params: { ...choice, task: 'generate', text: promptOf(command) }, sources: [] };
  }
}

function about(
  task: RunParams['task'],
  files: readonly string[],
  choice: Partial<RunParams>,
): { readonly params: RunParams; readonly sources: readonly Source[] } {
  if (files.filter((file) => file === '-').length > 1)
    throw new UsageError('Standard input (-) can be read only once.');
  const sources = files.map((file) => readSource(file));
  const [first] = sources;
  const text = sources.map((source) => source.text).join('\n\n');
  const languages = new Set(sources.map((source) => source.languageId));
  const params: RunParams = {
    ...choice,
    task,
    text,
    firstLine: sources.length === 1 ? (first?.firstLine ?? 1) : 1,
    languageId: languages.size === 1 ? (first?.languageId ?? 'plaintext') : 'plaintext',
  };
  return { params, sources };
}

/** `--prompt` or `--prompt-file`, exactly as given; a file's last newline is not part of it. */
export function promptOf(command: Command): string {
  const prompt = command.value('prompt');
  const file = command.value('prompt-file');
  if ((prompt === undefined) === (file === undefined)) {
    throw new UsageError(`${command.name} needs either --prompt TEXT or --prompt-file FILE.`);
  }
  const text = prompt ?? fromFile(file ?? '');
  if (text.trim() === '') throw new FlanError('source', 'The prompt is empty. Give it some text.');
  return text;
}

function fromFile(file: string): string {
  return readSource(file).text.replace(/\r?\n$/, '');
}
