/** Trying the prompt set: on a typed text, on the editor's selection, or on a whole file. */
import { stylePropertyMap } from '@vscode-elements/elements/dist/includes/style-property-map.js';
import { html, nothing, type TemplateResult } from 'lit';
import type { AnswerState, RunMode } from '../messages';
import { type App, focusOn } from './app';
import { appendRows } from './draft';
import { act, post } from './host';
import { many } from './many';
import { button, icon, iconButton, message, section, textArea } from './widgets';
import { percent, t } from './words';

const MODES: readonly RunMode[] = ['text', 'selection', 'file'];

export function run(app: App): TemplateResult {
  return section(app, { name: 'run', title: t('Run'), body: () => body(app), onClick: comeIntoView });
}

/** The header sticks to the end of the view: from there it first of all brings what it is the header of. */
function comeIntoView(header: HTMLElement): boolean {
  const panel = document.getElementById('run-panel');
  const page = header.closest('.scroll');
  if (panel === null || page === null) return false;
  if (panel.getBoundingClientRect().top < page.getBoundingClientRect().bottom - header.offsetHeight) return false;
  panel.scrollIntoView({ block: 'end' });
  panel.querySelector<HTMLElement>('textarea, vscode-button')?.focus({ preventScroll: true });
  return true;
}

function body(app: App): TemplateResult {
  const { mode } = app.state.kept;
  const titles: Readonly<Record<RunMode, string>> = {
    text: t('Text'),
    selection: t('Selection'),
    file: t('File'),
  };
  return html`<div class="tabs" role="tablist" aria-label=${t('What to run on')} @keydown=${(e: KeyboardEvent) => onTabKey(app, e)}>
      ${MODES.map(
        (each) =>
          html`<button
            type="button"
            role="tab"
            id="tab-${each}"
            aria-selected=${String(each === mode)}
            aria-controls="run-panel"
            tabindex=${each === mode ? 0 : -1}
            @click=${() => choose(app, each)}
          >
            ${titles[each]}
          </button>`,
      )}
    </div>
    <div class="run-panel" id="run-panel" role="tabpanel" aria-labelledby="tab-${mode}">
      ${mode === 'file' ? many(app) : mode === 'text' ? typed(app) : selected(app)}
    </div>`;
}

function choose(app: App, mode: RunMode): void {
  app.keep({ mode });
  post({ kind: 'query', mode, text: app.state.kept.text });
}

function onTabKey(app: App, event: KeyboardEvent): void {
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
  if (step === 0) return;
  event.preventDefault();
  const at = MODES.indexOf(app.state.kept.mode);
  const next = MODES[(at + step + MODES.length) % MODES.length];
  if (next === undefined) return;
  choose(app, next);
  app.afterDrawing(() => focusOn(`#tab-${next}`));
}

function typed(app: App): TemplateResult {
  const { text } = app.state.kept;
  const start = (): void => post({ kind: 'run', mode: 'text', text, drop: false });
  return html`<div
      @keydown=${(event: KeyboardEvent) => {
        if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        if (text.trim() !== '' && app.state.answer.kind !== 'running') start();
      }}
    >
      ${textArea({
        label: t('Text to run on'),
        id: 'run-text',
        value: text,
        rows: 2,
        placeholder: t('A text that the model has not seen'),
        onInput: (value) => {
          app.keep({ text: value });
          post({ kind: 'query', mode: 'text', text: value });
        },
      })}
    </div>
    ${runButton(app, text.trim() === '', start)} ${answer(app)}`;
}

function selected(app: App): TemplateResult {
  const { selection } = app.state;
  return html`${
    selection === undefined
      ? html`<p class="empty">${t('Nothing is selected in the editor.')}</p>`
      : html`<div class="selection">
          <div class="quiet">${lines(selection.file, selection.from, selection.to)}</div>
          <div class="excerpt" tabindex="0" role="region" aria-label=${t('Selection')}>${selection.text}</div>
        </div>`
  }
  ${runButton(app, selection === undefined, () => post({ kind: 'run', mode: 'selection', text: '', drop: false }))} ${answer(app)}`;
}

function lines(file: string, from: number, to: number): string {
  return from === to ? t('{0}, line {1}', file, from) : t('{0}, lines {1} to {2}', file, from, to);
}

/** One button that runs and stops, so that the focus stays where it is. */
function runButton(app: App, nothingToRun: boolean, start: () => void): TemplateResult {
  const { answer: current, kept } = app.state;
  const running = current.kind === 'running' && current.mode === kept.mode;
  return html`<div class="run-row">
    ${
      running
        ? button(t('Stop'), () => act('stop'), { icon: 'debug-stop', id: 'run' })
        : button(t('Run'), start, { icon: 'play', disabled: nothingToRun, id: 'run' })
    }
  </div>`;
}

function answer(app: App): TemplateResult | typeof nothing {
  const state = app.state.answer;
  if (state.kind === 'none' || state.mode !== app.state.kept.mode) return nothing;
  return html`<div class="answer" role="region" aria-label=${t('Answer')} aria-busy=${String(state.kind === 'running')}>
    ${state.text === '' ? nothing : html`<div class="answer-text">${state.text}${caret(state)}</div>`}
    ${state.kind === 'running' && state.text === '' ? html`<div class="quiet">${state.note}</div>` : nothing}
    ${state.kind === 'failed' ? failed(app, state) : nothing}
    ${state.kind === 'done' ? done(app, state) : nothing}
  </div>`;
}

function failed(app: App, state: Extract<AnswerState, { kind: 'failed' }>): TemplateResult {
  const again = (): void => post({ kind: 'run', mode: state.mode, text: state.input, drop: true });
  return message(
    'error',
    state.message,
    state.tooLong && app.state.count?.hopeless !== true
      ? button(t('Run Without Them'), again, { secondary: true })
      : nothing,
  );
}

function caret(state: AnswerState): TemplateResult | typeof nothing {
  return state.kind === 'running' ? html`<span class="caret" aria-hidden="true">▍</span>` : nothing;
}

function done(app: App, state: Extract<AnswerState, { kind: 'done' }>): TemplateResult {
  return html`${options(state)}
    <div class="answer-facts">
      <span class="quiet">${state.facts}</span>
      <span class="tools">
        ${iconButton({ icon: 'copy', label: t('Copy the Answer'), onClick: () => post({ kind: 'copy', text: state.text }) })}
        ${iconButton({
          icon: 'add',
          label: t('Add as an Example'),
          onClick: () => {
            const { draft } = app.state;
            if (draft === undefined) return;
            app.edit(appendRows(draft, [{ input: state.input, output: state.text }]));
            app.say(t('Example added.'));
          },
        })}
      </span>
    </div>
    ${state.notes.map((note) => html`<div class="quiet note">${icon('info')}${note}</div>`)}`;
}

/** Options with their probabilities, or answers with their votes: the choice is never shown without its rivals. */
function options({ result }: Extract<AnswerState, { kind: 'done' }>): TemplateResult | typeof nothing {
  const rows =
    result?.options !== undefined
      ? result.options.map(({ option, probability }) => ({ name: option, share: probability }))
      : (result?.votes ?? []).map(({ answer: name, count }, _, all) => ({
          name,
          share: count / all.reduce((sum, each) => sum + each.count, 0),
        }));
  if (rows.length === 0) return nothing;
  return html`<ul class="shares">
    ${rows
      .toSorted((a, b) => b.share - a.share)
      .map(
        ({ name, share }) => html`<li>
          <span class="share-name">${name}</span>
          <span class="track" aria-hidden="true"
            ><span .style=${stylePropertyMap({ width: `${100 * share}%` })}></span
          ></span>
          <span class="share">${percent(share)}</span>
        </li>`,
      )}
  </ul>`;
}
