/** What the page shows before a prompt set is open: what it is for, and the ways to begin. */
import { html, nothing, type TemplateResult } from 'lit';
import type { App } from './app';
import { act, post } from './host';
import { button, icon } from './widgets';
import { t } from './words';

export function welcome(app: App): TemplateResult {
  const { sets } = app.state;
  return html`<div class="welcome">
    <p>${t('A prompt set shows the model what you want: an instruction and a few examples, kept and run again on other texts.')}</p>
    ${button(t('New Prompt Set…'), () => act('create'), { id: 'create' })}
    ${
      sets.length === 0
        ? html`<p class="quiet">
            ${t('Begin with an empty one, or with one of the gallery: classify a log line, name a function, extract fields and others.')}
          </p>`
        : html`<h2 class="list-title">${t('Prompt Sets')}</h2>
            <ul class="set-list">
              ${sets.map(
                (set) => html`<li>
                  <button type="button" class="set" @click=${() => post({ kind: 'open', id: set.id })}>
                    ${icon(set.broken === undefined ? 'symbol-snippet' : 'error')}
                    <span class="set-name">${set.name}</span>
                    <span class="quiet">${set.scope === 'profile' ? t('Profile') : set.path}</span>
                  </button>
                </li>`,
              )}
            </ul>`
    }
    ${
      app.state.workspace
        ? nothing
        : html`<p class="quiet">${t('No folder is open: prompt sets are kept in your profile.')}</p>`
    }
  </div>`;
}
