/** What must be said of an answer besides its text. */
import * as vscode from 'vscode';
import type { PromptAnswer, PromptSet } from '../../server/protocol';
import { substitutionLine } from '../footer';

/** Sentences; empty when the whole prompt was read and the answer came to its end. */
export function notesOf(answer: PromptAnswer, set: PromptSet): string[] {
  const notes: string[] = [];
  if (answer.finishReason === 'cancelled') notes.push(vscode.l10n.t('Stopped before its end.'));
  if (answer.dropped.length > 0) {
    const numbers = answer.dropped.map((index) => index + 1).join(', ');
    notes.push(vscode.l10n.t('The window was too small for examples {0}: they were left away.', numbers));
  }
  if (answer.repeated === true) notes.push(vscode.l10n.t('The answer repeated itself and was ended there.'));
  else if (answer.finishReason === 'length') {
    const most = set.generation?.maxNewTokens;
    notes.push(
      most === undefined
        ? vscode.l10n.t('The answer was cut off: the settings of the set allow no more tokens.')
        : vscode.l10n.t('The answer was cut off after {0} tokens, as the settings of the set say.', most),
    );
  }
  const substitutions = substitutionLine(answer.substitutions, vscode.l10n.t);
  if (substitutions !== undefined) notes.push(substitutions);
  return notes;
}
