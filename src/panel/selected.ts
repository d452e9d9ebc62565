/** Examples in a text that somebody selected. Pure. */
import { TableError } from '../../server/prompts/errors';
import { labelsOf } from '../../server/prompts/set';
import { parseTable, type Table } from '../../server/prompts/table';
import type { Example, Form } from '../../server/protocol';

/**
 * Examples in a text that somebody selected: a table, or lines with the set's own labels. Undefined: it is neither, and
 * counts as one input.
 */
export function examplesInText(text: string, form: Form): Table | readonly Example[] | undefined {
  const labelled = labelledExamples(text, form);
  if (labelled.length > 0) return labelled;
  try {
    const table = parseTable(text);
    // Prose has commas in it; only what cannot be prose counts as a table here.
    return ['tsv', 'markdown', 'jsonl', 'json'].includes(table.format) && table.columns.length > 1 ? table : undefined;
  } catch (error) {
    if (error instanceof TableError) return undefined;
    throw error;
  }
}

function labelledExamples(text: string, form: Form): Example[] {
  const pairs = [labelsOf(form), labelsOf('qa'), labelsOf('io')];
  for (const { input, output } of pairs) {
    const parts = text.split(new RegExp(`^${literal(input)}:[ \\t]*`, 'm')).slice(1);
    const examples = parts.map((part) => part.split(new RegExp(`^${literal(output)}:[ \\t]*`, 'm')));
    if (examples.length > 0 && examples.every((sides) => sides.length === 2)) {
      return examples.map(([before = '', after = '']) => ({ input: before.trim(), output: after.trim() }));
    }
  }
  return [];
}

function literal(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
