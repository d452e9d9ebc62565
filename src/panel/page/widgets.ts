/** Small parts that the whole page is made of. */
import { html, nothing, type TemplateResult } from 'lit';
import { ifDefined } from 'lit/directives/if-defined.js';
import { live } from 'lit/directives/live.js';
import type { App } from './app';

export function icon(name: string): TemplateResult {
  return html`<span class="codicon codicon-${name}" aria-hidden="true"></span>`;
}

export interface IconButton {
  readonly icon: string;
  /** For the tooltip and for screen readers. */
  readonly label: string;
  readonly onClick: (event: Event) => void;
  readonly disabled?: boolean;
  /** For buttons that switch something. */
  readonly pressed?: boolean;
  readonly part?: string;
  readonly id?: string;
  /** Reached with the arrow keys of the toolbar it is in, not with Tab. */
  readonly inToolbar?: boolean;
}

/** A button like those in the title of a view. A disabled one stays reachable, so that focus is never lost on it. */
export function iconButton(button: IconButton): TemplateResult {
  const disabled = button.disabled === true;
  return html`<button
    type="button"
    class="icon-button"
    id=${ifDefined(button.id)}
    title=${button.label}
    aria-label=${button.label}
    aria-disabled=${ifDefined(disabled ? 'true' : undefined)}
    aria-pressed=${ifDefined(button.pressed === undefined ? undefined : String(button.pressed))}
    data-part=${ifDefined(button.part)}
    tabindex=${ifDefined(button.inToolbar === true ? -1 : undefined)}
    @click=${(event: Event) => {
      if (!disabled) button.onClick(event);
    }}
  >
    ${icon(button.icon)}
  </button>`;
}

export interface Section {
  readonly name: string;
  readonly title: string;
  readonly note?: string | undefined;
  readonly actions?: unknown;
  readonly body: () => unknown;
  /** True when the click did something else than to fold. */
  readonly onClick?: (header: HTMLElement) => boolean;
}

/** A part of the page that can be folded away, like the views of a side bar. */
export function section(app: App, { name, title, note, actions, body, onClick }: Section): TemplateResult {
  const folded = app.state.kept.folded[name] === true;
  const toggle = (event: Event): void => {
    if (!folded && event.currentTarget instanceof HTMLElement && onClick?.(event.currentTarget) === true) return;
    app.keep({ folded: { ...app.state.kept.folded, [name]: !folded } });
  };
  return html`<section class="section section-${name}" aria-labelledby="title-${name}">
    <div class="section-header">
      <h2>
        <button
          type="button"
          class="fold"
          id="title-${name}"
          aria-expanded=${String(!folded)}
          aria-controls="body-${name}"
          @click=${toggle}
        >
          ${icon(folded ? 'chevron-right' : 'chevron-down')}<span class="section-title">${title}</span>
          ${note === undefined ? nothing : html`<span class="section-note">${note}</span>`}
        </button>
      </h2>
      ${actions === undefined || folded ? nothing : html`<div class="section-actions">${actions}</div>`}
    </div>
    <div class="section-body" id="body-${name}" ?hidden=${folded}>${folded ? nothing : body()}</div>
  </section>`;
}

export interface TextArea {
  readonly label: string;
  readonly value: string;
  readonly onInput: (value: string) => void;
  readonly placeholder?: string;
  readonly id?: string;
  readonly part?: string;
  readonly describedBy?: string | undefined;
  readonly onPaste?: (event: ClipboardEvent) => void;
  /** Lines that an empty field shows. */
  readonly rows?: number;
}

/** Grows with its text. Not the library's text area: that one has a fixed height, which wastes or hides lines in a list. */
export function textArea(area: TextArea): TemplateResult {
  return html`<textarea
    id=${ifDefined(area.id)}
    rows=${area.rows ?? 1}
    spellcheck="false"
    aria-label=${area.label}
    aria-describedby=${ifDefined(area.describedBy)}
    placeholder=${area.placeholder ?? ''}
    data-part=${ifDefined(area.part)}
    .value=${live(area.value)}
    @input=${(event: InputEvent) => {
      if (event.target instanceof HTMLTextAreaElement) area.onInput(event.target.value);
    }}
    @paste=${(event: ClipboardEvent) => area.onPaste?.(event)}
  ></textarea>`;
}

export function message(kind: 'error' | 'warning' | 'info', text: unknown, actions: unknown = nothing): TemplateResult {
  return html`<div class="message ${kind}" role=${kind === 'error' ? 'alert' : 'note'}>
    ${icon(kind)}
    <div class="message-text">${text}</div>
    <div class="message-actions">${actions}</div>
  </div>`;
}

export function button(
  label: string,
  onClick: () => void,
  { icon: name = '', secondary = false, disabled = false, id }: ButtonLooks = {},
): TemplateResult {
  return html`<vscode-button
    id=${ifDefined(id)}
    icon=${name}
    ?secondary=${secondary}
    aria-disabled=${ifDefined(disabled ? 'true' : undefined)}
    class=${disabled ? 'inert' : ''}
    @click=${() => {
      if (!disabled) onClick();
    }}
    >${label}</vscode-button
  >`;
}

interface ButtonLooks {
  readonly icon?: string;
  readonly secondary?: boolean;
  readonly disabled?: boolean;
  readonly id?: string;
}
