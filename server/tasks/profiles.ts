/**
 * How each family of models wants to be asked, and how much it reads. A known model (models/registry.ts) has its profile
 * there; any other is told by its name; one that nobody listed is asked in the way most instruction-tuned T5 models were
 * trained.
 */

import { knownModel, shortName } from '../models/registry';
import type { ModeToken } from '../protocol';
import type { Frame } from '../text/window';
import type { T5Config } from '../weights/config';

export type Asked = 'explain' | 'summarize' | 'ask';

export interface Subject {
  /** Name of the programming language, if it is known. */
  readonly language: string | undefined;
  /** The text is for reading, not for running. */
  readonly prose: boolean;
  /** Only for `ask`. */
  readonly question: string;
  /** For models with mode tokens; absent: the one that suits the task. */
  readonly mode?: ModeToken;
}

export interface ModelProfile {
  /** Of the family: `starter`, `flan`, `ul2`, `t5`, `code-summary`, `pretrained`, `instruct`. */
  readonly family: string;
  /** Most prompt tokens that tasks use. */
  readonly window: number;
  /** Input length the model was trained on: longer inputs run, with less quality. */
  readonly trainedLength: number;
  /** The words around the text, in the wording that the family was trained on. */
  readonly frame: (task: Asked, subject: Subject) => Frame;
  /** What a prompt of worked examples needs around it; undefined where it is understood as it is. */
  readonly fewShot?: { readonly before: string; readonly end: string };
  /** What the model answers when the text does not say; undefined when it was not trained to. */
  readonly unanswerable: string | undefined;
  /** A small model falls into endless repetition: tasks stop it there. */
  readonly guardsRepetition: boolean;
}

const UNANSWERABLE = 'unanswerable';
/** T5's first sentinel: the gap that is to be filled. */
const GAP = '<extra_id_0>';

/**
 * Wordings of models/starter/recipe, of which the ones that did best on the prompts in test/fixtures. It was trained with no
 * wording to explain prose, so that is a summary.
 */
function starterFrame(task: Asked, { language, prose, question }: Subject): Frame {
  if (task === 'ask') return { before: '', after: `\n\nQuestion: ${question}\n\nAnswer:` };
  if (task === 'summarize' || prose) return { before: 'Summarize: ', after: '' };
  return { before: `Explain what the following ${language ?? 'source'} code does.\n\n`, after: '\n\nExplanation:' };
}

/** Flan's own template forms; it has none for code, so explaining borrows the form of its instructions. */
function flanFrame(task: Asked, { language, prose, question }: Subject): Frame {
  if (task === 'ask') {
    const rule = `If the question is unanswerable, say "${UNANSWERABLE}".`;
    return { before: `Read this and answer the question. ${rule}\n\n`, after: `\n\n${question}` };
  }
  if (task === 'summarize') {
    return prose
      ? { before: 'Summarize:\n\n', after: '\n\nSummary:' }
      : { before: `Summarize what this ${named(language)}code does.\n\n`, after: '\n\nSummary:' };
  }
  return prose
    ? { before: 'Explain what the following text means.\n\n', after: '\n\nExplanation:' }
    : { before: `Explain what the following ${named(language)}code does.\n\n`, after: '\n\nExplanation:' };
}

/**
 * The pre-trained UL2 fills gaps: one at the end is where it writes. Its mode token in front says what kind of gap that
 * is: a short one whose answer stands in the text (`[NLU]`), or a long one of free text (`[NLG]`). `[S2S]`, a plain
 * continuation, is for prompts that end in the middle of what is to be written.
 */
function ul2Frame(task: Asked, subject: Subject): Frame {
  const { language, prose, question, mode = 'auto' } = subject;
  const chosen = mode === 'auto' ? (task === 'ask' ? 'NLU' : 'NLG') : mode;
  const words = {
    ask: `Question: ${question}\n\nAnswer: `,
    summarize: 'Summary: ',
    explain: prose ? 'What this text means: ' : `What this ${named(language)}code does: `,
  };
  return { before: chosen === 'none' ? '' : `[${chosen}] `, after: `\n\n${words[task]}`, end: GAP };
}

/** T5 v1.0 knows the prefixes of its own training tasks. */
function t5Frame(task: Asked, { question }: Subject): Frame {
  if (task === 'ask') return { before: `question: ${question} context: `, after: '' };
  return { before: 'summarize: ', after: '' };
}

/** Models that were trained to write a comment for raw code, whatever is asked. */
function rawFrame(task: Asked, { question }: Subject): Frame {
  return task === 'ask' ? { before: `${question}\n\n`, after: '' } : { before: '', after: '' };
}

function named(language: string | undefined): string {
  return language === undefined ? '' : `${language} `;
}

const FLAN: ModelProfile = {
  family: 'flan',
  // The collection's inputs were cut at 2048 tokens; `n_positions` 512 of the Flan-T5 configs is a leftover.
  window: 2048,
  trainedLength: 2048,
  frame: flanFrame,
  unanswerable: UNANSWERABLE,
  guardsRepetition: true,
};
const STARTER: ModelProfile = { ...FLAN, family: 'starter', trainedLength: 512, frame: starterFrame };
/** The models of before Flan read prompts of this length, and have no word for what a text does not say. */
const SHORT: ModelProfile = { ...FLAN, window: 512, trainedLength: 512, unanswerable: undefined };
const UL2: ModelProfile = {
  ...SHORT,
  family: 'ul2',
  frame: ul2Frame,
  // Worked examples end in the middle of what is to be written.
  fewShot: { before: '[S2S] ', end: ` ${GAP}` },
};
const T5: ModelProfile = { ...SHORT, family: 't5', frame: t5Frame };
const CODE: ModelProfile = { ...SHORT, family: 'code-summary', trainedLength: 256, frame: rawFrame };
const INSTRUCT: ModelProfile = { ...FLAN, family: 'instruct', trainedLength: 512 };
/** Trained for no task: asked as the others are, so that it can be seen what that gives. */
const PRETRAINED: ModelProfile = { ...INSTRUCT, family: 'pretrained', unanswerable: undefined };

const FAMILIES = [FLAN, STARTER, UL2, T5, CODE, PRETRAINED];

/** Looked at in this order; names of folders and hub repositories both match. */
const BY_NAME: readonly (readonly [RegExp, ModelProfile])[] = [
  [/(^|[/\\])starter([/\\]|$)/, STARTER],
  [/flan/, FLAN],
  [/ul2/, UL2],
  [/codet5|code-?summar|code_?trans/, CODE],
  [/(^|[/\\])t5-(small|base|large|3b|11b)([/\\-]|$)/, T5],
];

/**
 * @param name the model's name or folder
 * @param config decides where the name says nothing: plain T5 v1.0 is told by its feed-forward without a gate
 */
export function profileFor(name: string, config: Pick<T5Config, 'gated' | 'modelType'>): ModelProfile {
  const known = knownModel(name) ?? knownModel(shortName(name));
  const family = FAMILIES.find((profile) => profile.family === known?.family);
  if (known !== undefined && family !== undefined) {
    return { ...family, window: known.window, trainedLength: known.trainedLength };
  }
  const lower = name.toLowerCase();
  for (const [pattern, profile] of BY_NAME) if (pattern.test(lower)) return profile;
  return config.modelType === 't5' && !config.gated ? T5 : INSTRUCT;
}
