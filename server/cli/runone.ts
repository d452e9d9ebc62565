/** A prompt set on one input: the answer streams as those of the other tasks do. */
import { Method, type PromptRunResult } from '../protocol';
import { ServerClient } from './client';
import { interrupt } from './interrupt';
import { substitutionNote } from './notes';
import type { Command } from './options';
import { type Output, showProgress } from './output';
import type { RunRequest } from './run';

export async function runOne(
  { set, choice, whenTooLong }: RunRequest,
  input: string,
  command: Command,
  output: Output,
): Promise<void> {
  const stop = interrupt();
  const client = await ServerClient.open();
  try {
    const params = { ...choice, set, input, whenTooLong };
    const result = await client.requestWithProgress<PromptRunResult>(
      Method.runPrompt,
      params,
      showProgress(output),
      stop.token,
    );
    if (command.json) {
      output.json(result);
      return;
    }
    output.endText(result.text);
    for (const note of notesOf(result)) output.note(note);
  } finally {
    client.close();
    stop.dispose();
  }
}

function notesOf(result: PromptRunResult): string[] {
  const { finishReason, repeated, tokens, options, votes, dropped, substitutions } = result;
  const notes: string[] = [];
  if (finishReason === 'cancelled') notes.push('Stopped.');
  else if (repeated === true) notes.push('The answer was ended where it began to repeat itself.');
  else if (finishReason === 'length')
    notes.push(`The answer was cut after ${tokens} tokens (maxNewTokens of the set).`);
  for (const { option, probability } of [...(options ?? [])].sort((a, b) => b.probability - a.probability)) {
    notes.push(`${(probability * 100).toFixed(1).padStart(5)} %  ${option}`);
  }
  for (const { answer, count } of votes ?? []) notes.push(`${count} x  ${answer}`);
  if (dropped.length > 0)
    notes.push(`Left away, since the prompt was too long: examples ${dropped.map((at) => at + 1).join(', ')}.`);
  if (substitutions.length > 0) notes.push(substitutionNote(substitutions));
  if (result.demo) notes.push('Answered by the built-in demonstration model: expect little.');
  if (result.promptTokens > 0) {
    notes.push(
      `${result.model} (${result.weights}) on ${result.device}, ${result.promptTokens} of ${result.window} tokens.`,
    );
  }
  return notes;
}
