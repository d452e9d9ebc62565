/** The top of the page: which prompt set is open, where it is kept, and whether it is saved. */
import { html, nothing, type TemplateResult } from 'lit';
import type { OpenSet } from '../messages';
import type { App } from './app';
import { act } from './host';
import { button, icon, iconButton, message } from './widgets';
import { t } from './words';

export function header(app: App): TemplateResult {
  const { open } = app.state;
  return html`<header class="header">
    <h1 class="for-screen-readers">${t('Prompt Sets')}</h1>
    <div class="header-row">
      <button
        type="button"
        id="picker"
        class="picker"
        aria-haspopup="dialog"
        aria-label=${open === undefined ? t('Choose a prompt set') : t('Prompt set: {0}. Choose another.', open.info.name)}
        title=${t('Choose a prompt set')}
        @click=${() => act('choose')}
      >
        <span class="picker-name">${open?.info.name ?? t('Choose a prompt set')}</span>${icon('chevron-down')}
      </button>
      ${
        open?.set === undefined
          ? nothing
          : [
              iconButton({
                icon: 'save',
                label: t('Save'),
                onClick: () => act('save'),
                disabled: !open.dirty,
                id: 'save',
              }),
              iconButton({
                icon: 'discard',
                label: t('Discard Changes'),
                onClick: () => act('revert'),
                disabled: !open.dirty,
                id: 'revert',
              }),
            ]
      }
    </div>
    ${open === undefined ? nothing : place(open)} ${open === undefined ? nothing : trouble(open)}
  </header>`;
}

function place(open: OpenSet): TemplateResult {
  const { info, dirty, slot } = open;
  return html`<div class="place">
    ${
      info.scope === 'workspace'
        ? html`<button type="button" class="link" title=${t('Open the file')} @click=${() => act('openFile')}>
            ${info.path}
          </button>`
        : html`<span>${t('Profile')}</span>`
    }
    ${
      slot === undefined
        ? nothing
        : html`<button type="button" class="link" title=${t('Change the slot')} @click=${() => act('slot')}>
            ${t('Slot {0}', slot)}
          </button>`
    }
    <span class="saved" role="status">${dirty ? t('Unsaved') : nothing}</span>
  </div>`;
}

function trouble(open: OpenSet): TemplateResult | typeof nothing {
  if (open.info.broken !== undefined) {
    return message(
      'error',
      html`<strong>${t('This file cannot be read.')}</strong> ${open.info.broken}`,
      button(t('Open the file'), () => act('openFile'), { secondary: true }),
    );
  }
  if (!open.conflict) return nothing;
  return message('warning', t('The file was changed elsewhere. Your unsaved changes are kept here.'), [
    button(t('Use the File'), () => act('useFile'), { secondary: true, id: 'use-file' }),
    button(t('Keep Mine'), () => act('keepEdit'), { secondary: true, id: 'keep-edit' }),
  ]);
}
