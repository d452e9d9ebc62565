/** The page of the prompt-set view: its table of contents. */
import '@vscode-elements/elements/dist/vscode-button/index.js';
import '@vscode-elements/elements/dist/vscode-option/index.js';
import '@vscode-elements/elements/dist/vscode-progress-bar/index.js';
import '@vscode-elements/elements/dist/vscode-single-select/index.js';
import '@vscode-elements/elements/dist/vscode-textfield/index.js';
import { html, nothing, render, type TemplateResult } from 'lit';
import { App } from './app';
import type { Draft } from './draft';
import { examples, undo } from './examples';
import { header } from './header';
import { act, keep, onMessage, post } from './host';
import { meter } from './meter';
import { run } from './run';
import { options, settings } from './settings';
import { welcome } from './welcome';
import { section, textArea } from './widgets';
import { t } from './words';

function page(app: App): TemplateResult {
  const { open, draft, said } = app.state;
  return html`${header(app)}
    <main class="scroll" @scroll=${(event: Event) => rememberScroll(app, event)}>
      ${open === undefined ? welcome(app) : draft === undefined ? nothing : editor(app, draft)}
    </main>
    ${draft === undefined ? nothing : meter(app)}
    <div class="for-screen-readers" role="status" aria-live="polite" id="said">${said}</div>`;
}

function editor(app: App, draft: Draft): TemplateResult {
  return html`<div class="columns">
    <div class="column">
      ${section(app, {
        name: 'instruction',
        title: t('Instruction'),
        body: () => html`<div class="padded">
          ${textArea({
            label: t('Instruction'),
            id: 'instruction',
            value: draft.set.instruction,
            placeholder: t('What should the model do with each input?'),
            onInput: (instruction) => app.editSet({ instruction }),
          })}
        </div>`,
      })}
      ${examples(app, draft)} ${options(app, draft)} ${settings(app, draft)}
    </div>
    <div class="column">${run(app)}</div>
  </div>`;
}

/** Not worth a drawing: only what the editor keeps changes. */
function rememberScroll(app: App, event: Event): void {
  if (!(event.target instanceof HTMLElement)) return;
  app.state = { ...app.state, kept: { ...app.state.kept, scroll: event.target.scrollTop } };
  keep(app.state.kept);
}

function start(): void {
  const root = document.getElementById('root');
  if (root === null) return;
  let restored = false;
  const app = new App((now) => {
    if (!now.state.ready) return;
    render(page(now), root);
    if (restored || now.state.draft === undefined) return;
    restored = true;
    const { scroll } = now.state.kept;
    requestAnimationFrame(() => document.querySelector('.scroll')?.scrollTo(0, scroll));
  });
  onMessage((message) => app.receive(message));
  // Before the editor's own listener, which hands every key that it sees to the workbench.
  window.addEventListener('keydown', (event) => onKey(app, event), true);
  post({ kind: 'ready' });
  post({ kind: 'query', mode: app.state.kept.mode, text: app.state.kept.text });
}

function onKey(app: App, event: KeyboardEvent): void {
  const command = event.ctrlKey || event.metaKey;
  if (!command || event.altKey || event.shiftKey) return;
  if (event.key === 's') {
    event.preventDefault();
    act('save');
  }
  const inText = event.target instanceof HTMLTextAreaElement || event.target instanceof HTMLInputElement;
  // In a text field the same keys undo what was typed.
  if (event.key === 'z' && !inText && app.state.steps.length > 0) {
    event.preventDefault();
    // The workbench would undo what was typed last, wherever that was.
    event.stopPropagation();
    undo(app);
  }
}

start();
