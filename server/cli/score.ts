/** score: how likely the model finds a given answer. */
import { FlanError, UsageError } from '../errors';
import { Method, type ScoreParams, type ScoreResult } from '../protocol';
import { ServerClient } from './client';
import { interrupt } from './interrupt';
import { type Command, modelChoice } from './options';
import type { Output } from './output';
import { promptOf } from './tasks';

export async function score(command: Command, output: Output): Promise<void> {
  if (command.positionals.length > 0)
    throw new UsageError('score takes no file: flan score --prompt TEXT --answer TEXT.');
  const answer = command.value('answer');
  if (answer === undefined) throw new UsageError('score needs --answer TEXT.');
  if (answer.trim() === '') throw new FlanError('source', 'The answer is empty. Give it some text.');
  const params: ScoreParams = { ...modelChoice(command), prompt: promptOf(command), answer };
  const stop = interrupt();
  const client = await ServerClient.open();
  try {
    const result = await client.request<ScoreResult>(Method.score, params, stop.token);
    if (command.json) output.json(result);
    else output.lines([`${format(result.logprob)}  in all`, ...result.tokens.map(line)]);
  } finally {
    client.close();
    stop.dispose();
  }
}

function line(token: ScoreResult['tokens'][number]): string {
  return `${format(token.logprob)}  ${token.text}`;
}

function format(logprob: number): string {
  return logprob.toFixed(4).padStart(10);
}
