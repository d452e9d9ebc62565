/**
 * Every message between the prompt-set view and the extension, and what both know of the things they speak about. The
 * page's bundle and the extension's share nothing else.
 */
import type { Baseline, Comparison } from '../../server/prompts/check';
import type {
  CheckedExample,
  CheckReport,
  Example,
  PromptCount,
  PromptOutcome,
  PromptRunResult,
  PromptSet,
} from '../../server/protocol';

export type Scope = 'workspace' | 'profile';

/** One prompt set as a list shows it. */
export interface SetInfo {
  readonly id: string;
  readonly name: string;
  readonly scope: Scope;
  /** The file, relative to its folder; empty for the profile. */
  readonly path: string;
  /** Why its file cannot be read. */
  readonly broken?: string;
}

/** What the page edits. */
export interface OpenSet {
  readonly info: SetInfo;
  /** Absent when the file is broken. */
  readonly set?: PromptSet;
  /** Differs from what is saved. */
  readonly dirty: boolean;
  /** The file was changed by somebody else while there are unsaved changes here. */
  readonly conflict: boolean;
  /** The numbered slot by which it can be run with a key. */
  readonly slot?: number;
}

/** What is selected in the editor. */
export interface SelectionInfo {
  readonly file: string;
  /** 1-based and inclusive. */
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/** A single answer, from the moment it is asked for. */
/** Where an answer was asked for: it is shown there, and not beside another text. */
export type AnswerMode = 'text' | 'selection';

export type AnswerState =
  | { readonly kind: 'none' }
  /** `note`: what happens before the first word. */
  | {
      readonly kind: 'running';
      readonly mode: AnswerMode;
      readonly input: string;
      readonly note: string;
      readonly text: string;
    }
  | {
      readonly kind: 'done';
      readonly mode: AnswerMode;
      readonly input: string;
      readonly text: string;
      /** Model, device, time. */
      readonly facts: string;
      /** What was left away or could not be read. */
      readonly notes: readonly string[];
      /** Only of an answer that came to its end; absent when it was stopped before anything was known. */
      readonly result?: PromptRunResult;
    }
  | {
      readonly kind: 'failed';
      readonly mode: AnswerMode;
      readonly input: string;
      readonly text: string;
      readonly message: string;
      readonly tooLong: boolean;
    };

/** More rows than this are in the exported file, not on the page. */
export const MOST_ROWS = 500;

/** A file of inputs, as chosen by the user. */
export interface InputFile {
  readonly name: string;
  /** Of a table; empty when there is nothing to choose. */
  readonly columns: readonly string[];
  /** Index into `columns`. */
  readonly column: number;
  /** How many inputs there are. */
  readonly count: number;
  /** Rows with nothing in that column. */
  readonly skipped: number;
}

export interface ManyRow {
  readonly input: string;
  readonly outcome?: PromptOutcome;
}

/** Rows from `from` on, at most MOST_ROWS in all; `whole`: there are no others. */
export interface RowsToShow {
  readonly whole: boolean;
  readonly from: number;
  readonly rows: readonly ManyRow[];
}

export interface ManyState {
  readonly file?: InputFile;
  /** Why the file cannot be used, or the run ended. */
  readonly problem?: string;
  readonly running: boolean;
  /** Before the first answer: loading, waiting. */
  readonly note: string;
  /** Inputs with an outcome, failures included. */
  readonly done: number;
  readonly failed: number;
  /** The set as it was when the results were made. */
  readonly ran?: PromptSet;
  /** Model, device, time. */
  readonly facts: string;
}

export interface CheckState {
  readonly running: boolean;
  readonly note: string;
  readonly of: number;
  readonly examples: readonly CheckedExample[];
  readonly report?: CheckReport;
  readonly message?: string;
  /** The examples of the set that was checked: a result stands beside an example only while that is the same. */
  readonly checked: readonly Example[];
  readonly baseline?: Baseline;
  /** Of `report` with `baseline`. */
  readonly comparison?: Comparison;
}

/** Which text the meter counts as the query. */
export type RunMode = 'text' | 'selection' | 'file';

export type ToPage =
  | {
      readonly kind: 'hello';
      /** English to the editor's language; empty in English. */
      readonly words: Readonly<Record<string, string>>;
      readonly language: string;
    }
  | { readonly kind: 'sets'; readonly sets: readonly SetInfo[]; readonly workspace: boolean }
  /** `replace`: the page's own draft gives way to this one. */
  | { readonly kind: 'open'; readonly open: OpenSet | undefined; readonly replace: boolean }
  | { readonly kind: 'selection'; readonly selection: SelectionInfo | undefined }
  /** Examples to append; an empty one at the end gives its place. */
  | { readonly kind: 'add'; readonly examples: readonly Example[] }
  /** Text for one side of the example with this key, or of the first that still lacks it. */
  | { readonly kind: 'fill'; readonly side: 'input' | 'output'; readonly text: string; readonly key?: number }
  | { readonly kind: 'count'; readonly count: PromptCount | undefined; readonly message?: string }
  | { readonly kind: 'answer'; readonly answer: AnswerState }
  | { readonly kind: 'many'; readonly many: ManyState; readonly rows: RowsToShow }
  | { readonly kind: 'check'; readonly check: CheckState }
  | { readonly kind: 'focus'; readonly where: 'run' | 'picker' };

/** Commands of the page that need nothing but their name. */
export type PanelAction =
  | 'choose'
  | 'create'
  | 'save'
  | 'revert'
  | 'useFile'
  | 'keepEdit'
  | 'rename'
  | 'duplicate'
  | 'delete'
  | 'openFile'
  | 'move'
  | 'slot'
  | 'pasteTable'
  | 'importFile'
  | 'addSelection'
  | 'stop'
  | 'chooseFile'
  | 'runMany'
  | 'resumeMany'
  | 'cancelMany'
  | 'exportMany'
  | 'check'
  | 'cancelCheck'
  | 'keepBaseline'
  | 'forgetBaseline';

export type FromPage =
  | { readonly kind: 'ready' }
  | { readonly kind: 'action'; readonly action: PanelAction }
  | { readonly kind: 'open'; readonly id: string }
  | { readonly kind: 'edit'; readonly id: string; readonly set: PromptSet }
  | { readonly kind: 'fillFromSelection'; readonly side: 'input' | 'output'; readonly key: number }
  | { readonly kind: 'query'; readonly mode: RunMode; readonly text: string }
  | { readonly kind: 'run'; readonly mode: AnswerMode; readonly text: string; readonly drop: boolean }
  | { readonly kind: 'column'; readonly column: number }
  | { readonly kind: 'copy'; readonly text: string }
  /** Cells that were pasted into the page. */
  | { readonly kind: 'pasted'; readonly text: string };
