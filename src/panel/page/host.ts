/** The page's side of the messages, and what the editor keeps of the page while it is not shown. */
import type { FromPage, PanelAction, RunMode, ToPage } from '../messages';

/** Kept while the view is hidden and over a restart of the window. */
export interface Kept {
  readonly folded: Readonly<Record<string, boolean>>;
  readonly mode: RunMode;
  /** What was typed to be run. */
  readonly text: string;
  readonly scroll: number;
}

interface EditorApi {
  postMessage(message: FromPage): void;
  getState(): unknown;
  setState(state: Kept): void;
}

declare function acquireVsCodeApi(): EditorApi;

const api = acquireVsCodeApi();

const NOTHING_KEPT: Kept = { folded: { options: true, settings: true }, mode: 'text', text: '', scroll: 0 };

export function post(message: FromPage): void {
  api.postMessage(message);
}

export function act(action: PanelAction): void {
  post({ kind: 'action', action });
}

export function kept(): Kept {
  const state = api.getState();
  return typeof state === 'object' && state !== null ? { ...NOTHING_KEPT, ...state } : NOTHING_KEPT;
}

export function keep(state: Kept): void {
  api.setState(state);
}

export function onMessage(handler: (message: ToPage) => void): void {
  window.addEventListener('message', (event: MessageEvent<ToPage>) => handler(event.data));
}
