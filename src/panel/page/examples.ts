/** The list of examples, and what can be done with it as a whole. */
import { html, nothing, type TemplateResult } from 'lit';
import { repeat } from 'lit/directives/repeat.js';
import { type App, focusOn, focusRow } from './app';
import { looksLikeCells } from './cells';
import { checkSummary } from './check';
import { type Draft, insertRow, moveRow, newRow, removeRow, toggleRow } from './draft';
import { exampleRow } from './example';
import { act, post } from './host';
import { rowAfter, undone } from './undo';
import { button, iconButton, section } from './widgets';
import { t } from './words';

export function examples(app: App, draft: Draft): TemplateResult {
  const on = draft.rows.filter((row) => row.example.off !== true).length;
  const { check } = app.state;
  return section(app, {
    name: 'examples',
    title: t('Examples'),
    note: on === draft.rows.length ? String(on) : t('{0} of {1} on', on, draft.rows.length),
    actions: [
      check.running
        ? iconButton({ icon: 'beaker-stop', label: t('Stop Checking'), onClick: () => act('cancelCheck'), id: 'check' })
        : iconButton({
            icon: 'beaker',
            label: t('Check: predict each example from the others'),
            onClick: () => act('check'),
            disabled: on < 2,
            id: 'check',
          }),
      iconButton({
        icon: 'selection',
        label: t('Add the Selection as an Example'),
        onClick: () => act('addSelection'),
        disabled: app.state.selection === undefined,
      }),
      iconButton({ icon: 'clippy', label: t('Paste a Table'), onClick: () => act('pasteTable') }),
      iconButton({ icon: 'folder-opened', label: t('Import From a File…'), onClick: () => act('importFile') }),
      iconButton({ icon: 'add', label: t('Add an Example'), onClick: () => addExample(app), id: 'add' }),
    ],
    body: () => body(app, draft),
  });
}

function body(app: App, draft: Draft): TemplateResult {
  return html`${checkSummary(app, draft)}
    ${
      draft.rows.length === 0
        ? empty(app)
        : html`<ol
            class="examples"
            aria-label=${t('Examples')}
            @keydown=${(event: KeyboardEvent) => onKey(app, draft, event)}
            @paste=${(event: ClipboardEvent) => onPaste(event)}
          >
            ${repeat(
              draft.rows,
              (row) => row.key,
              (row, index) => exampleRow(app, draft, row, index),
            )}
          </ol>`
    }
    ${undoBar(app)}`;
}

function empty(app: App): TemplateResult {
  return html`<div class="empty">
    <p>${t('No examples yet. Add one by hand, or take it from the editor: select text and use the selection.')}</p>
    <p class="quiet">${t('Two to eight short examples work best. A table with two columns can be pasted or imported.')}</p>
    ${button(t('Add an Example'), () => addExample(app), { secondary: true, icon: 'add' })}
  </div>`;
}

function undoBar(app: App): TemplateResult | typeof nothing {
  const { steps } = app.state;
  const last = steps.at(-1);
  if (last?.bar === undefined) return nothing;
  return html`<div class="undo">
    <span>${last.bar}</span>
    <button type="button" class="link" id="undo" title="Ctrl+Z" @click=${() => undo(app)}>${t('Undo')}</button>
    ${iconButton({
      icon: 'close',
      label: t('Dismiss'),
      onClick: () => {
        app.update({ steps: [...steps.slice(0, -1), { inverse: last.inverse }] });
        app.afterDrawing(() => focusOn('#add'));
      },
    })}
  </div>`;
}

export function addExample(app: App): void {
  const { draft } = app.state;
  if (draft === undefined) return;
  app.unfold('examples');
  const row = newRow({ input: '', output: '' });
  app.step(insertRow(draft, draft.rows.length, row), { inverse: { kind: 'remove', keys: [row.key] } });
  focusRow(app, row.key, 'input');
}

export function duplicate(app: App, draft: Draft, index: number): void {
  const source = draft.rows[index];
  if (source === undefined) return;
  const row = newRow(source.example);
  const told = t('Example {0} was duplicated.', index + 1);
  app.step(insertRow(draft, index + 1, row), { inverse: { kind: 'remove', keys: [row.key] }, bar: told });
  app.say(told);
  focusRow(app, row.key, 'input');
}

/** `part` of the neighbour gets the focus. */
export function remove(app: App, draft: Draft, index: number, part = 'delete'): void {
  const row = draft.rows[index];
  if (row === undefined) return;
  const next = removeRow(draft, index);
  app.step(next, {
    inverse: { kind: 'insert', row, at: index },
    bar: t('Example {0} was deleted.', index + 1),
  });
  app.say(t('Example {0} was deleted. Control+Z brings it back.', index + 1));
  const neighbour = next.rows[Math.min(index, next.rows.length - 1)];
  if (neighbour === undefined) app.afterDrawing(() => focusOn('#undo'));
  else focusRow(app, neighbour.key, part);
}

/** Switches an example on or off. */
export function toggle(app: App, draft: Draft, key: number): void {
  app.step(toggleRow(draft, key), { inverse: { kind: 'toggle', key } });
}

/** Takes the last step back. */
export function undo(app: App): void {
  const { draft, steps } = app.state;
  const last = steps.at(-1);
  if (draft === undefined || last === undefined) return;
  const next = undone(draft, last.inverse);
  app.edit(next);
  app.update({ steps: steps.slice(0, -1) });
  const key = rowAfter(last.inverse);
  const at = next.rows.findIndex((row) => row.key === key);
  app.say(last.inverse.kind === 'insert' ? t('Example {0} is back.', at + 1) : t('Undone.'));
  // Not into a field, where the same keys undo what was typed.
  if (key !== undefined && at >= 0) focusRow(app, key, 'grip');
  else app.afterDrawing(() => focusOn('#add'));
}

/** Moves a row and keeps the focus on the part of it that had it. */
export function move(app: App, draft: Draft, from: number, to: number): void {
  const row = draft.rows[from];
  if (row === undefined || from === to || to < 0 || to >= draft.rows.length) return;
  const part = document.activeElement?.getAttribute('data-part') ?? 'grip';
  app.step(moveRow(draft, from, to), { inverse: { kind: 'move', key: row.key, to: from } });
  app.say(t('Example moved to place {0} of {1}.', to + 1, draft.rows.length));
  focusRow(app, row.key, part);
}

function onKey(app: App, draft: Draft, event: KeyboardEvent): void {
  if (alongToolbar(event)) return;
  const up = event.key === 'ArrowUp';
  if (!event.altKey || event.ctrlKey || event.shiftKey || !(up || event.key === 'ArrowDown')) return;
  const index = indexOf(draft, event.target);
  if (index < 0) return;
  event.preventDefault();
  move(app, draft, index, up ? index - 1 : index + 1);
}

/** Left and right go from button to button of a row: one stop for Tab instead of four. */
function alongToolbar(event: KeyboardEvent): boolean {
  const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
  const { target } = event;
  if (step === 0 || !(target instanceof HTMLButtonElement)) return false;
  const buttons = [...(target.closest('[role="toolbar"]')?.querySelectorAll('button') ?? [])];
  const next = buttons[buttons.indexOf(target) + step];
  if (next === undefined) return false;
  event.preventDefault();
  next.focus();
  return true;
}

function indexOf(draft: Draft, target: EventTarget | null): number {
  if (!(target instanceof Element)) return -1;
  const key = target.closest('[data-key]')?.getAttribute('data-key');
  return draft.rows.findIndex((row) => String(row.key) === key);
}

/** Cells of a spreadsheet that are pasted into a field become examples; all else is text. */
function onPaste(event: ClipboardEvent): void {
  const text = event.clipboardData?.getData('text/plain') ?? '';
  if (!looksLikeCells(text)) return;
  event.preventDefault();
  post({ kind: 'pasted', text });
}
