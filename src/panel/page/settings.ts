/** What is set once and then folded away: the answers there are, the words around examples, and how the answer is written. */
import { html, nothing, type TemplateResult } from 'lit';
import { ifDefined } from 'lit/directives/if-defined.js';
import {
  DEFAULT_ANSWER_TOKENS,
  DEFAULT_VOTE_TEMPERATURE,
  type Form,
  type Generation,
  labelsOf,
  MAX_VOTES,
} from '../../../server/prompts/set';
import type { App } from './app';
import type { Draft } from './draft';
import { section, textArea } from './widgets';
import { t } from './words';

export function options(app: App, { set }: Draft): TemplateResult {
  const count = set.options?.length ?? 0;
  return section(app, {
    name: 'options',
    title: t('Answer Options'),
    note: count === 0 ? t('any answer') : String(count),
    body: () => html`<div class="padded">
      ${textArea({
        label: t('Answer options, one a line'),
        id: 'options',
        rows: 2,
        value: optionsText.get(app) ?? (set.options ?? []).join('\n'),
        placeholder: t('One answer a line. Empty: the model answers freely.'),
        onInput: (value) => {
          // The text keeps its empty lines while it is typed; the set gets what stands in the others.
          optionsText.set(app, value);
          const all = [...new Set(value.split('\n').map((line) => line.trim()))].filter((line) => line !== '');
          const { options: _old, ...rest } = set;
          const { draft } = app.state;
          if (draft !== undefined) app.edit({ ...draft, set: all.length === 0 ? rest : { ...rest, options: all } });
        },
      })}
      ${count === 0 ? nothing : html`<p class="quiet">${count === 1 ? t('One option is no choice: add another.') : t('The model takes the most probable of these.')}</p>`}
    </div>`,
  });
}

const optionsText = new WeakMap<App, string>();

/** For another set, or one that was read again from its file. */
export function forgetTypedOptions(app: App): void {
  optionsText.delete(app);
}

export function settings(app: App, { set }: Draft): TemplateResult {
  const labels = labelsOf(set.form);
  return section(app, {
    name: 'settings',
    title: t('Settings'),
    note: `${labels.input}: … ${labels.output}: …`,
    body: () => html`<div class="padded">
      ${formField(app, set.form)} ${set.options === undefined ? generation(app, set.generation ?? {}) : nothing}
      <div class="field">
        <label id="description-label">${t('Description')}</label>
        ${textArea({
          label: t('Description'),
          value: set.description ?? '',
          placeholder: t('For people; the model does not see it'),
          onInput: (value) => {
            const { draft } = app.state;
            if (draft === undefined) return;
            const { description: _old, ...rest } = draft.set;
            app.edit({ ...draft, set: value === '' ? rest : { ...rest, description: value } });
          },
        })}
      </div>
    </div>`,
  });
}

function formField(app: App, form: Form): TemplateResult {
  const index = form === 'qa' ? 0 : form === 'io' ? 1 : 2;
  const labels = labelsOf(form);
  const choose = (chosen: number): void => {
    const next: Form = chosen === 0 ? 'qa' : chosen === 1 ? 'io' : { ...labels };
    if (chosen !== index) app.editSet({ form: next });
  };
  return html`<div class="field">
      <label id="form-label">${t('Form')}</label>
      <vscode-single-select
        label=${t('Form')}
        id="form"
        .selectedIndex=${index}
        @change=${(event: Event) => {
          const { target } = event;
          if (target instanceof HTMLElement && 'selectedIndex' in target && typeof target.selectedIndex === 'number') {
            choose(target.selectedIndex);
          }
        }}
      >
        <vscode-option ?selected=${index === 0}>${t('Q and A')}</vscode-option>
        <vscode-option ?selected=${index === 1}>${t('Input and Output')}</vscode-option>
        <vscode-option ?selected=${index === 2}>${t('Own labels')}</vscode-option>
      </vscode-single-select>
    </div>
    ${
      index === 2
        ? [
            textField(t('Label of inputs'), labels.input, (input) => app.editSet({ form: { ...labels, input } })),
            textField(t('Label of outputs'), labels.output, (output) => app.editSet({ form: { ...labels, output } })),
          ]
        : nothing
    }`;
}

function generation(app: App, now: Generation): TemplateResult {
  const change = (next: Generation): void => {
    const { draft } = app.state;
    if (draft === undefined) return;
    const { generation: _old, ...rest } = draft.set;
    app.edit({ ...draft, set: Object.keys(next).length === 0 ? rest : { ...rest, generation: next } });
  };
  const { votes, beams, temperature, seed, maxNewTokens, ...unknown } = now;
  const kept = { ...unknown, ...(maxNewTokens === undefined ? {} : { maxNewTokens }) };
  return html`${numberField({
    label: t('Longest answer, in tokens'),
    value: maxNewTokens,
    fallback: DEFAULT_ANSWER_TOKENS,
    range: [1, 8192],
    onChange: (value) => {
      const { maxNewTokens: _old, ...rest } = now;
      change(value === undefined ? rest : { ...rest, maxNewTokens: value });
    },
  })}
    ${numberField({
      label: t('Beams'),
      value: beams,
      fallback: 1,
      range: [1, 16],
      hint: t('The model follows so many answers at once and takes the best. Not together with votes.'),
      onChange: (value) => change(value === undefined ? kept : { ...kept, beams: value }),
    })}
    ${numberField({
      label: t('Votes'),
      value: votes,
      range: [2, MAX_VOTES],
      hint: t(
        'So many samples are drawn; the most frequent final answer wins. For examples that reason before they answer.',
      ),
      onChange: (value) =>
        change(
          value === undefined
            ? kept
            : {
                ...kept,
                votes: value,
                ...(temperature === undefined ? {} : { temperature }),
                ...(seed === undefined ? {} : { seed }),
              },
        ),
    })}
    ${
      votes === undefined
        ? nothing
        : numberField({
            label: t('Temperature of the samples'),
            value: temperature,
            fallback: DEFAULT_VOTE_TEMPERATURE,
            range: [0.05, 5],
            step: 0.05,
            onChange: (value) => {
              const { temperature: _old, ...rest } = now;
              change(value === undefined ? rest : { ...rest, temperature: value });
            },
          })
    }`;
}

interface NumberField {
  readonly label: string;
  readonly value: number | undefined;
  /** Shown while the field is empty: what then applies. */
  readonly fallback?: number;
  readonly range: readonly [number, number];
  readonly step?: number;
  readonly hint?: string;
  readonly onChange: (value: number | undefined) => void;
}

/** Empty means the default. A number out of range is put to its nearest end when the field is left. */
function numberField({
  label,
  value,
  fallback,
  range: [min, max],
  step = 1,
  hint,
  onChange,
}: NumberField): TemplateResult {
  return html`<div class="field" title=${ifDefined(hint)}>
    <label>${label}</label>
    <vscode-textfield
      type="number"
      .label=${label}
      min=${min}
      max=${max}
      step=${step}
      placeholder=${fallback ?? t('none')}
      .value=${value === undefined ? '' : String(value)}
      @change=${(event: Event) => {
        const { target } = event;
        if (!(target instanceof HTMLElement) || !('value' in target)) return;
        const typed = String(target.value).trim();
        const number = Number(typed);
        const valid = typed !== '' && Number.isFinite(number);
        const inRange = Math.min(max, Math.max(min, step === 1 ? Math.round(number) : number));
        target.value = valid ? String(inRange) : '';
        onChange(valid ? inRange : undefined);
      }}
    ></vscode-textfield>
  </div>`;
}

function textField(label: string, value: string, onInput: (value: string) => void): TemplateResult {
  return html`<div class="field">
    <label>${label}</label>
    <vscode-textfield
      .label=${label}
      .value=${value}
      @input=${(event: Event) => {
        const { target } = event;
        if (target instanceof HTMLElement && 'value' in target) onInput(String(target.value));
      }}
    ></vscode-textfield>
  </div>`;
}
