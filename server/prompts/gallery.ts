/** Ready sets that come with the product: files of the same form as a user's own. Names and descriptions in both languages. */
import { parsePromptSet } from './file';
import commitMessage from './gallery/commit-message.json';
import extractFields from './gallery/extract-fields.json';
import functionName from './gallery/function-name.json';
import grammar from './gallery/grammar.json';
import issueKind from './gallery/issue-kind.json';
import issueTitle from './gallery/issue-title.json';
import logLine from './gallery/log-line.json';
import chinese from './gallery/names.zh-cn.json';
import sentiment from './gallery/sentiment.json';
import translateError from './gallery/translate-error.json';
import unitTestName from './gallery/unit-test-name.json';
import wordProblem from './gallery/word-problem.json';
import type { PromptSet } from './set';

export interface GallerySet {
  /** Stable: the name of its file. */
  readonly id: string;
  /** Name and description in English. */
  readonly set: PromptSet;
  readonly chinese: { readonly name: string; readonly description: string };
}

const SETS: Readonly<Record<keyof typeof chinese, object>> = {
  'log-line': logLine,
  'function-name': functionName,
  'commit-message': commitMessage,
  'extract-fields': extractFields,
  'translate-error': translateError,
  sentiment: sentiment,
  'unit-test-name': unitTestName,
  'issue-kind': issueKind,
  'issue-title': issueTitle,
  'word-problem': wordProblem,
  grammar: grammar,
};

let read: readonly GallerySet[] | undefined;

/** In the order in which they are shown. */
export function gallery(): readonly GallerySet[] {
  read ??= Object.entries(chinese).map(([id, names]) => {
    // A copy in a user's folder refers to the schema that lies there.
    const { $schema: _, ...content } = SETS[id as keyof typeof chinese] as { readonly $schema?: string };
    return { id, set: parsePromptSet(JSON.stringify(content), `${id}.json`), chinese: names };
  });
  return read;
}
