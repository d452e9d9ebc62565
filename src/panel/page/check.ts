/** What leave-one-out says: over all examples, beside each of them, and against the results that were kept. */
import { html, nothing, type TemplateResult } from 'lit';
import type { Baseline, Compared, Comparison } from '../../../server/prompts/check';
import type { CheckedExample, CheckReport, Example } from '../../../server/protocol';
import type { App } from './app';
import type { Draft, Row } from './draft';
import { act } from './host';
import { button, icon, message } from './widgets';
import { percent, t } from './words';

function sameExample(a: Example | undefined, b: Example): boolean {
  return a !== undefined && a.input === b.input && a.output === b.output;
}

/** The result for a row, as long as the example is what was checked; it may have moved since. */
function resultOf(app: App, row: Row, index: number): CheckedExample | undefined {
  const { checked, examples } = app.state.check;
  const at = sameExample(checked[index], row.example)
    ? index
    : checked.findIndex((each) => sameExample(each, row.example));
  return examples.find((each) => each.index === at);
}

export function isOdd(app: App, row: Row, index: number): boolean {
  const result = resultOf(app, row, index);
  return result !== undefined && app.state.check.report?.odd.includes(result.index) === true;
}

export function checkedFacts(app: App, row: Row, index: number): TemplateResult | typeof nothing {
  const result = resultOf(app, row, index);
  if (result === undefined || row.example.off === true) return nothing;
  const { predicted, agrees, own } = result;
  const compared = app.state.check.comparison?.examples.find((each) => each.index === result.index);
  return html`<div class="checked ${agrees ? 'agrees' : 'differs'}">
    ${
      predicted.kind === 'failed'
        ? html`<span class="verdict">${icon('error')}${t('not predicted: {0}', predicted.message)}</span>`
        : agrees
          ? html`<span class="verdict">${icon('pass')}${t('agrees')}</span>`
          : html`<span class="verdict">${icon('circle-slash')}${t('the others say {0}', quoted(predicted.answer.text))}</span>`
    }
    ${own === undefined ? nothing : likelihood(own.perToken, own.logprob, own.tokens)}
    ${compared === undefined ? nothing : change(compared, own?.perToken)}
    ${
      isOdd(app, row, index)
        ? html`<span
            class="odd-note"
            title=${t('The model finds this output much less likely than those of the other examples: look whether it is right.')}
            >${icon('warning')}${t('stands out')}</span
          >`
        : nothing
    }
  </div>`;
}

function likelihood(perToken: number, logprob: number, tokens: number): TemplateResult {
  const hint = t('Your output has a log-likelihood of {0} in {1} tokens.', logprob.toFixed(2), tokens);
  return html`<span title=${hint}>${t('yours {0} likely', percent(Math.exp(perToken)))}</span>`;
}

function quoted(text: string): string {
  return `“${text}”`;
}

/** What an edit did to this example, in the words of what changed. */
function change({ change: kind, before }: Compared, perToken: number | undefined): TemplateResult | typeof nothing {
  if (kind === 'same') return nothing;
  if (kind === 'new' || before === undefined) return html`<span class="quiet">${t('new')}</span>`;
  const was = before.predicted ?? t('nothing');
  if (kind === 'changed') return html`<span class="quiet">${t('before: {0}', quoted(was))}</span>`;
  const known = before.perToken !== null && perToken !== undefined;
  const likely = known ? percent(Math.exp(before.perToken ?? 0)) : '';
  if (kind === 'better') {
    return html`<span class="better">${icon('arrow-up')}${known ? t('better, {0} before', likely) : t('better')}</span>`;
  }
  return html`<span class="worse">${icon('arrow-down')}${known ? t('worse, {0} before', likely) : t('worse')}</span>`;
}

export function checkSummary(app: App, draft: Draft): TemplateResult | typeof nothing {
  const { check } = app.state;
  if (check.message !== undefined) return message('error', check.message);
  if (check.running) {
    return html`<div class="check-summary">
      <vscode-progress-bar
        aria-label=${t('Checking')}
        .value=${check.examples.length}
        .max=${Math.max(1, check.of)}
        ?indeterminate=${check.examples.length === 0}
      ></vscode-progress-bar>
      <span>${check.note === '' ? t('Checked {0} of {1}', check.examples.length, check.of) : check.note}</span>
    </div>`;
  }
  const { report, baseline, comparison } = check;
  if (report === undefined) return nothing;
  const stale = draft.rows.some((row, index) => row.example.off !== true && resultOf(app, row, index) === undefined);
  const total = report.examples.length;
  const mean =
    report.meanPerToken === undefined ? nothing : t('yours {0} likely', percent(Math.exp(report.meanPerToken)));
  return html`<div class="check-summary" role="group" aria-label=${t('Result of the check')}>
    <div class="check-line">
      <strong>${t('{0} of {1} agree', report.agreeing, total)}</strong>
      <span>${mean}</span>
      ${report.cancelled ? html`<span class="quiet">${t('stopped')}</span>` : nothing}
      ${stale ? html`<span class="quiet">${t('edited since')}</span>` : nothing}
    </div>
    ${baseline === undefined ? nothing : against(baseline, report, comparison)}
    <div class="check-line">
      ${button(t('Keep as Baseline'), () => act('keepBaseline'), { secondary: true, id: 'keep-baseline' })}
      ${
        baseline === undefined
          ? nothing
          : html`<button type="button" class="link" @click=${() => act('forgetBaseline')}>${t('Forget the Baseline')}</button>`
      }
    </div>
  </div>`;
}

function against(baseline: Baseline, report: CheckReport, comparison: Comparison | undefined): TemplateResult {
  const { agreeing, meanPerToken, examples } = baseline;
  const mean = meanPerToken === null ? '' : ` · ${t('yours {0} likely', percent(Math.exp(meanPerToken)))}`;
  const better = report.agreeing - agreeing;
  const counts = comparison?.counts;
  const arrow =
    better > 0
      ? html`<span class="better">${icon('arrow-up')}</span>`
      : better < 0
        ? html`<span class="worse">${icon('arrow-down')}</span>`
        : nothing;
  return html`<div class="check-line baseline">
      <span>${arrow}${t('Baseline: {0} of {1} agree', agreeing, examples.length)}${mean}</span>
    </div>
    ${
      counts === undefined || counts.better + counts.worse === 0
        ? nothing
        : html`<div class="check-line">
            ${counts.better > 0 ? html`<span class="better">${icon('arrow-up')}${t('{0} better', counts.better)}</span>` : nothing}
            ${counts.worse > 0 ? html`<span class="worse">${icon('arrow-down')}${t('{0} worse', counts.worse)}</span>` : nothing}
          </div>`
    }
    ${
      comparison?.otherModel === true
        ? html`<div class="check-line quiet">${icon('info')}${t('The baseline was made by {0}.', baseline.model)}</div>`
        : nothing
    }`;
}
