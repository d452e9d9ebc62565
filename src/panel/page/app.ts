/** The page's state, and the one way in which it changes: `update`, after which everything is drawn again. */
import type { PromptCount, PromptSet } from '../../../server/protocol';
import type {
  AnswerState,
  CheckState,
  ManyRow,
  ManyState,
  OpenSet,
  RowsToShow,
  SelectionInfo,
  SetInfo,
  ToPage,
} from '../messages';
import { appendRows, type Draft, draftOf, fillSide, setOf } from './draft';
import { type Kept, keep, kept, post } from './host';
import { MOST_STEPS, type Step } from './undo';
import { speak, t } from './words';

export interface State {
  /** Nothing is drawn before the first words of the extension. */
  readonly ready: boolean;
  readonly sets: readonly SetInfo[];
  readonly workspace: boolean;
  readonly open?: OpenSet | undefined;
  readonly draft?: Draft | undefined;
  /** What can be taken back, the last step at the end. */
  readonly steps: readonly Step[];
  readonly selection?: SelectionInfo | undefined;
  readonly count?: PromptCount | undefined;
  readonly countMessage?: string | undefined;
  readonly answer: AnswerState;
  readonly many: ManyState;
  readonly rows: readonly ManyRow[];
  readonly check: CheckState;
  /** What a screen reader says next. */
  readonly said: string;
  readonly kept: Kept;
}

const NO_MANY: ManyState = { running: false, note: '', done: 0, failed: 0, facts: '' };
const NO_CHECK: CheckState = { running: false, note: '', of: 0, examples: [], checked: [] };

export class App {
  state: State = {
    ready: false,
    sets: [],
    workspace: false,
    steps: [],
    answer: { kind: 'none' },
    many: NO_MANY,
    rows: [],
    check: NO_CHECK,
    said: '',
    kept: kept(),
  };
  private readonly draw: (app: App) => void;
  private wanted = false;
  private waiting: (() => void)[] = [];

  constructor(draw: (app: App) => void) {
    this.draw = draw;
  }

  update(change: Partial<State>): void {
    this.state = { ...this.state, ...change };
    if (this.wanted) return;
    this.wanted = true;
    queueMicrotask(() => {
      this.wanted = false;
      this.draw(this);
      for (const action of this.waiting.splice(0)) action();
    });
  }

  /** After the next drawing; for focus, which needs its element. */
  afterDrawing(action: () => void): void {
    this.waiting.push(action);
    this.update({});
  }

  keep(change: Partial<Kept>): void {
    this.update({ kept: { ...this.state.kept, ...change } });
    keep(this.state.kept);
  }

  say(text: string): void {
    // The same words twice would not be read again.
    this.update({ said: text === this.state.said ? `${text}\u00a0` : text });
  }

  /** Every change of the set by the user goes through here. */
  edit(draft: Draft): void {
    const { open } = this.state;
    if (open === undefined) return;
    this.update({ draft });
    post({ kind: 'edit', id: open.info.id, set: setOf(draft) });
  }

  /** A change of the list of examples, which can be taken back. */
  step(draft: Draft, step: Step): void {
    this.edit(draft);
    this.update({ steps: [...this.state.steps, step].slice(-MOST_STEPS) });
  }

  editSet(change: Partial<PromptSet>): void {
    const { draft } = this.state;
    if (draft !== undefined) this.edit({ ...draft, set: { ...draft.set, ...change } });
  }

  receive(message: ToPage): void {
    switch (message.kind) {
      case 'hello':
        speak(message.language, message.words);
        this.update({ ready: true });
        break;
      case 'sets':
        this.update({ sets: message.sets, workspace: message.workspace });
        break;
      case 'open':
        this.opened(message.open, message.replace);
        break;
      case 'selection':
        this.update({ selection: message.selection });
        break;
      case 'add':
        this.added(message.examples);
        break;
      case 'fill':
        this.filled(message.side, message.text, message.key);
        break;
      case 'count':
        this.update({ count: message.count, countMessage: message.message });
        break;
      case 'answer':
        this.answered(message.answer);
        break;
      case 'many':
        this.ran(message.many, patched(this.state.rows, message.rows));
        break;
      case 'check':
        this.checked(message.check);
        break;
      case 'focus':
        this.afterDrawing(() => focusOn(message.where === 'run' ? '#run-text' : '#picker'));
        break;
    }
  }

  private opened(open: OpenSet | undefined, replace: boolean): void {
    const other = open?.info.id !== this.state.open?.info.id;
    if (open?.set === undefined) {
      this.update({ open, draft: undefined, steps: [] });
      return;
    }
    const before = other ? undefined : this.state.draft;
    const draft = replace || before === undefined ? draftOf(open.set, before) : before;
    this.update({ open, draft, ...(other || replace ? { steps: [] } : {}), ...(other ? { count: undefined } : {}) });
    if (other) this.say(t('Prompt set {0} is open.', open.info.name));
  }

  private added(examples: Parameters<typeof appendRows>[1]): void {
    const { draft } = this.state;
    if (draft === undefined || examples.length === 0) return;
    const next = appendRows(draft, examples);
    const keys = next.rows.slice(-examples.length).map(({ key }) => key);
    const told = examples.length === 1 ? t('Example added.') : t('{0} examples added.', examples.length);
    this.step(next, { inverse: { kind: 'remove', keys }, bar: examples.length === 1 ? undefined : told });
    this.unfold('examples');
    const first = next.rows.at(-examples.length);
    const last = examples.at(-1);
    this.say(told);
    if (first !== undefined) focusRow(this, first.key, last?.output === '' ? 'output' : 'input');
  }

  private filled(side: 'input' | 'output', text: string, key: number | undefined): void {
    const { draft } = this.state;
    if (draft === undefined) return;
    const [next, at] = fillSide(draft, side, text, key);
    this.edit(next);
    this.unfold('examples');
    this.say(side === 'input' ? t('Selection used as input.') : t('Selection used as output.'));
    const other = side === 'input' ? 'output' : 'input';
    const free = next.rows.find((row) => row.key === at)?.example[other].trim() === '';
    focusRow(this, at, free ? other : side);
  }

  unfold(section: string): void {
    if (this.state.kept.folded[section] === true)
      this.keep({ folded: { ...this.state.kept.folded, [section]: false } });
  }

  private answered(answer: AnswerState): void {
    const before = this.state.answer.kind;
    this.update({ answer });
    if (answer.kind === before) return;
    if (answer.kind === 'done') this.say(t('Answer: {0}', answer.text));
    if (answer.kind === 'failed') this.say(t('No answer. {0}', answer.message));
  }

  private ran(many: ManyState, rows: readonly ManyRow[]): void {
    const ended = this.state.many.running && !many.running;
    this.update({ many, rows });
    if (ended) this.say(t('{0} of {1} inputs answered.', many.done - many.failed, many.file?.count ?? 0));
  }

  private checked(check: CheckState): void {
    const ended = this.state.check.running && !check.running;
    this.update({ check });
    const { report } = check;
    if (ended && report !== undefined) {
      this.say(t('{0} of {1} examples agree.', report.agreeing, report.examples.length));
    }
  }
}

function patched(before: readonly ManyRow[], { whole, from, rows }: RowsToShow): readonly ManyRow[] {
  return whole ? rows : [...before.slice(0, from), ...rows, ...before.slice(from + rows.length)];
}

export function focusOn(selector: string): void {
  const element = document.querySelector<HTMLElement>(selector);
  element?.focus();
  element?.scrollIntoView({ block: 'nearest' });
}

export function focusRow(app: App, key: number, part: string): void {
  app.afterDrawing(() => focusOn(`[data-key="${key}"] [data-part="${part}"]`));
}
