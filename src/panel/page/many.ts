/** Running on every line of a file, or on a column of a table: the answers stand beside their inputs. */
import { html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import type { PromptSet } from '../../../server/protocol';
import type { ManyRow, ManyState } from '../messages';
import type { App } from './app';
import { setOf } from './draft';
import { act, post } from './host';
import { button, icon, message } from './widgets';
import { t } from './words';

export function many(app: App): TemplateResult {
  const { many: state, rows, draft } = app.state;
  const { file, problem } = state;
  const stale = state.ran !== undefined && draft !== undefined && !sameForModel(state.ran, setOf(draft));
  return html`
    ${problem === undefined ? nothing : message('error', problem)}
    ${
      file === undefined
        ? html`<p class="empty">
            ${t('Choose a text file to run on each of its lines, or a CSV, TSV or JSONL table to run on one of its columns.')}
          </p>`
        : html`<div class="file-row">
            ${icon('file')}<span class="file-name" title=${file.name}>${file.name}</span>
            <span class="quiet">${file.count === 1 ? t('1 input') : t('{0} inputs', file.count)}</span>
            ${file.skipped > 0 ? html`<span class="quiet">${t('{0} empty', file.skipped)}</span>` : nothing}
          </div>`
    }
    ${file === undefined || file.columns.length === 0 ? nothing : columns(file.columns, file.column)}
    <div class="run-row">${buttons(state, stale)}</div>
    ${progress(state, stale)} ${state.done > 0 || state.running ? table(rows, file?.count ?? 0) : nothing}
  `;
}

function columns(names: readonly string[], column: number): TemplateResult {
  return html`<div class="field">
    <label id="column-label">${t('Column')}</label>
    <vscode-single-select
      label=${t('Column')}
      .selectedIndex=${column}
      @change=${(event: Event) => {
        const { target } = event;
        if (target instanceof HTMLElement && 'selectedIndex' in target && typeof target.selectedIndex === 'number') {
          post({ kind: 'column', column: target.selectedIndex });
        }
      }}
    >
      ${names.map((name, index) => html`<vscode-option ?selected=${index === column}>${name}</vscode-option>`)}
    </vscode-single-select>
  </div>`;
}

function buttons(state: ManyState, stale: boolean): unknown {
  const choose = button(t('Choose a File…'), () => act('chooseFile'), {
    secondary: state.file !== undefined,
    icon: 'folder-opened',
    id: 'choose-file',
  });
  if (state.file === undefined) return choose;
  if (state.running) return button(t('Cancel'), () => act('cancelMany'), { icon: 'debug-stop', id: 'run-many' });
  const answered = state.done - state.failed;
  const partly = answered > 0 && answered < state.file.count && !stale;
  return [
    partly
      ? button(t('Resume'), () => act('resumeMany'), { icon: 'debug-continue', id: 'run-many' })
      : button(t('Run'), () => act('runMany'), { icon: 'play', id: 'run-many' }),
    partly ? button(t('Start Again'), () => act('runMany'), { secondary: true }) : nothing,
    state.done > 0 ? button(t('Export…'), () => act('exportMany'), { secondary: true, icon: 'export' }) : nothing,
    choose,
  ];
}

function progress(state: ManyState, stale: boolean): TemplateResult | typeof nothing {
  if (!state.running && state.done === 0) return nothing;
  const { done } = state;
  const count = state.file?.count ?? 0;
  return html`<div class="many-progress">
    ${
      state.running
        ? html`<vscode-progress-bar
            aria-label=${t('Inputs answered')}
            .value=${done}
            .max=${Math.max(1, count)}
            ?indeterminate=${done === 0}
          ></vscode-progress-bar>`
        : nothing
    }
    <span>${state.note !== '' && state.running ? state.note : t('{0} of {1} done', done, count)}</span>
    ${state.failed > 0 ? html`<span class="warning">${icon('warning')}${t('{0} failed', state.failed)}</span>` : nothing}
    ${stale ? html`<span class="quiet">${t('by an earlier form of the set')}</span>` : nothing}
    <span class="quiet">${state.facts}</span>
  </div>`;
}

function table(shown: readonly ManyRow[], count: number): TemplateResult {
  return html`<div class="table-frame" tabindex="0" role="region" aria-label=${t('Results')}>
      <table>
        <thead>
          <tr>
            <th scope="col">${t('Input')}</th>
            <th scope="col">${t('Answer')}</th>
          </tr>
        </thead>
        <tbody>
          ${repeat(shown, (_, index) => index, tableRow)}
        </tbody>
      </table>
    </div>
    ${
      count > shown.length
        ? html`<p class="quiet">${t('{0} more rows are in the exported file.', count - shown.length)}</p>`
        : nothing
    }`;
}

function tableRow({ input, outcome }: ManyRow): TemplateResult {
  return html`<tr>
    <td title=${input}><div class="cell">${input}</div></td>
    ${
      outcome === undefined
        ? html`<td></td>`
        : outcome.kind === 'failed'
          ? html`<td class="warning" title=${outcome.message}><div class="cell">${icon('error')}${outcome.message}</div></td>`
          : html`<td title=${outcome.answer.text}>
              <div class="cell">${outcome.answer.text}</div>
              ${outcome.answer.dropped.length > 0 ? html`<div class="quiet note">${without(outcome.answer.dropped)}</div>` : nothing}
            </td>`
    }
  </tr>`;
}

function without(dropped: readonly number[]): string {
  return t('without examples {0}', dropped.map((index) => index + 1).join(', '));
}

/** What answers depend on; a new name makes no result old. */
function sameForModel(a: PromptSet, b: PromptSet): boolean {
  const matters = ({ instruction, form, options, generation, examples }: PromptSet): string =>
    JSON.stringify([instruction, form, options, generation, examples.filter(({ off }) => off !== true)]);
  return matters(a) === matters(b);
}
