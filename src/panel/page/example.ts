/** One example in the list: its two texts, its tools, and what the meter and the last check say about it. */
import { html, nothing, type TemplateResult } from 'lit';
import { labelsOf } from '../../../server/prompts/set';
import type { App } from './app';
import { checkedFacts, isOdd } from './check';
import { changeRow, type Draft, type Row } from './draft';
import { startDrag } from './drag';
import { duplicate, move, remove, toggle } from './examples';
import { post } from './host';
import { icon, iconButton, textArea } from './widgets';
import { t } from './words';

export function exampleRow(app: App, draft: Draft, row: Row, index: number): TemplateResult {
  const { example, key } = row;
  const off = example.off === true;
  const number = index + 1;
  const counted = app.state.count?.examples[index];
  const misfit = counted?.fits === false;
  const odd = isOdd(app, row, index);
  const labels = labelsOf(draft.set.form);
  const classes = ['example', off ? 'off' : '', misfit ? 'misfit' : '', odd ? 'odd' : ''].join(' ');
  return html`<li class=${classes} data-key=${key} aria-label=${t('Example {0}', number)}>
    <div class="example-title" role="toolbar" aria-label=${t('Example {0}', number)}>
      <button
        type="button"
        class="grip"
        data-part="grip"
        title=${t('Drag to move, or press Alt+Up and Alt+Down')}
        aria-label=${t('Move example {0}: Alt+Up, Alt+Down', number)}
        @pointerdown=${(event: PointerEvent) => startDrag(app, event, index)}
        @keydown=${(event: KeyboardEvent) => {
          if (event.altKey) return;
          if (event.key === 'Delete') remove(app, draft, index, 'grip');
          else if (event.key === 'ArrowUp') move(app, draft, index, index - 1);
          else if (event.key === 'ArrowDown') move(app, draft, index, index + 1);
          else return;
          event.preventDefault();
        }}
      >
        ${icon('gripper')}<span class="number">${number}</span>
      </button>
      <span class="example-facts" id="facts-${key}">
        ${off ? html`<span>${t('off')}</span>` : nothing}
        ${off || counted === undefined ? nothing : html`<span>${t('{0} tokens', counted.tokens)}</span>`}
        ${misfit ? html`<span class="warning">${icon('warning')}${t('does not fit')}</span>` : nothing}
      </span>
      <span class="tools">
        ${iconButton({
          icon: off ? 'eye-closed' : 'eye',
          label: off ? t('Switch On Example {0}', number) : t('Switch Off Example {0}', number),
          onClick: () => toggle(app, draft, key),
          part: 'toggle',
          inToolbar: true,
        })}
        ${iconButton({
          icon: 'copy',
          label: t('Duplicate Example {0}', number),
          onClick: () => duplicate(app, draft, index),
          part: 'duplicate',
          inToolbar: true,
        })}
        ${iconButton({
          icon: 'trash',
          label: t('Delete Example {0}', number),
          onClick: () => remove(app, draft, index),
          part: 'delete',
          inToolbar: true,
        })}
      </span>
    </div>
    ${side(app, draft, row, 'input', labels.input, t('Input of example {0}', number))}
    ${side(app, draft, row, 'output', labels.output, t('Output of example {0}', number))}
    ${checkedFacts(app, row, index)}
  </li>`;
}

function side(
  app: App,
  draft: Draft,
  { key, example }: Row,
  name: 'input' | 'output',
  label: string,
  longLabel: string,
): TemplateResult {
  return html`<div class="side">
    <span class="label" title=${label} aria-hidden="true">${label}</span>
    ${textArea({
      label: longLabel,
      value: example[name],
      part: name,
      describedBy: `facts-${key}`,
      onInput: (value) => {
        const now = app.state.draft ?? draft;
        app.edit(changeRow(now, key, { [name]: value }));
      },
    })}
    ${
      app.state.selection === undefined
        ? nothing
        : iconButton({
            icon: 'selection',
            label: name === 'input' ? t('Use the Selection as Input') : t('Use the Selection as Output'),
            onClick: () => post({ kind: 'fillFromSelection', side: name, key }),
          })
    }
  </div>`;
}
