/** How many tokens the prompt takes of the model's window, and what takes them. Exact: counted by the model's tokenizer. */

import { stylePropertyMap } from '@vscode-elements/elements/dist/includes/style-property-map.js';
import { html, nothing, type TemplateResult } from 'lit';
import type { PromptCount } from '../../../server/protocol';
import type { App } from './app';
import { icon } from './widgets';
import { t } from './words';

interface Part {
  readonly kind: 'instruction' | 'example' | 'query';
  readonly tokens: number;
  readonly fits: boolean;
}

export function meter(app: App): TemplateResult {
  const { count, countMessage } = app.state;
  return html`<footer class="meter" aria-label=${t('Tokens of the prompt')}>
    ${
      count === undefined
        ? html`<div class="meter-line quiet">${countMessage ?? t('Counting tokens…')}</div>`
        : counted(app, count)
    }
  </footer>`;
}

function counted(app: App, count: PromptCount): TemplateResult {
  const { total, window, instruction, query, examples } = count;
  const ofExamples = examples.reduce((sum, { tokens }) => sum + tokens, 0);
  const summary = t('{0} of {1} tokens', total, window);
  const { mode } = app.state.kept;
  const ofQuery =
    mode === 'selection'
      ? t('selection {0}', query)
      : mode === 'file'
        ? t('longest line {0}', query)
        : t('text {0}', query);
  const legend = [
    { kind: 'instruction', text: t('instruction {0}', instruction) },
    { kind: 'example', text: t('examples {0}', ofExamples) },
    { kind: 'query', text: ofQuery },
  ];
  return html`<div class="bar" role="img" aria-label=${`${summary}: ${legend.map(({ text }) => text).join(', ')}`}>
      ${bar(count)}
    </div>
    <div class="meter-line">
      <span class="total ${count.fits ? '' : 'over'}">${summary}</span>
      <span class="legend" aria-hidden="true"
        >${legend.map(({ kind, text }) => html`<span class="key of-${kind}">${text}</span>`)}</span
      >
    </div>
    ${note(count)}`;
}

function bar(count: PromptCount): unknown {
  const parts: Part[] = [
    { kind: 'instruction', tokens: count.instruction, fits: true },
    ...count.examples.map(({ tokens, fits }): Part => ({ kind: 'example', tokens, fits })),
    { kind: 'query', tokens: count.query, fits: !count.hopeless },
  ];
  // A prompt that is too long fills the bar, and a line shows where the window ends.
  const whole = Math.max(count.window, count.total);
  const share = (tokens: number): string => `${(100 * tokens) / whole}%`;
  return [
    parts
      .filter(({ tokens }) => tokens > 0)
      .map(
        ({ kind, tokens, fits }) =>
          html`<span class="part of-${kind} ${fits ? '' : 'misfit'}" .style=${stylePropertyMap({ width: share(tokens) })}></span>`,
      ),
    count.total > count.window
      ? html`<span class="window-end" .style=${stylePropertyMap({ left: share(count.window) })}></span>`
      : nothing,
  ];
}

function note(count: PromptCount): TemplateResult | typeof nothing {
  if (count.hopeless) {
    return html`<div class="meter-line warning">
      ${icon('warning')}${t('Even without examples this is longer than {0} can read.', count.model)}
    </div>`;
  }
  if (!count.fits) {
    const misfits = count.examples.flatMap(({ fits }, index) => (fits ? [] : [index + 1]));
    const text =
      misfits.length === 1
        ? t('Example {0} does not fit: shorten the prompt or switch examples off.', misfits[0] ?? 0)
        : t('Examples {0} do not fit: shorten the prompt or switch examples off.', misfits.join(', '));
    return html`<div class="meter-line warning">${icon('warning')}${text}</div>`;
  }
  if (count.total <= count.trainedLength) return nothing;
  return html`<div class="meter-line quiet">
    ${icon('info')}${t('{0} was trained on {1} tokens: longer prompts lose quality.', count.model, count.trainedLength)}
  </div>`;
}
