/**
 * Moving an example with the pointer. Pointer events and not the browser's own drag and drop: those of a webview do not
 * always reach it, and a picture of the whole row would cover the place where it goes.
 */
import type { App } from './app';
import { move } from './examples';

/** A click on the handle is not a drag. */
const THRESHOLD_PX = 4;
/** So close to the edge of the page, it scrolls. */
const EDGE_PX = 24;

export function startDrag(app: App, start: PointerEvent, from: number): void {
  const grip = start.currentTarget;
  if (!(grip instanceof HTMLElement) || start.button !== 0) return;
  const row = grip.closest('li');
  const list = row?.parentElement;
  if (row === null || list === null || list === undefined) return;
  grip.focus();
  start.preventDefault();
  grip.setPointerCapture(start.pointerId);
  let to = from;
  let dragging = false;

  const mark = (): void => {
    for (const [index, each] of [...list.children].entries()) {
      // A line above the row that will follow; below the last one when it goes to the end.
      const place = to > from ? to + 1 : to;
      each.classList.toggle('drop-before', dragging && index === place);
      each.classList.toggle('drop-after', dragging && place === list.children.length && index === place - 1);
    }
    row.classList.toggle('dragging', dragging);
  };
  const onMove = (event: PointerEvent): void => {
    if (!dragging && Math.abs(event.clientY - start.clientY) < THRESHOLD_PX) return;
    dragging = true;
    to = placeAt(list, from, event.clientY);
    scrollAtEdge(event.clientY);
    mark();
  };
  const end = (commit: boolean): void => {
    grip.removeEventListener('pointermove', onMove);
    grip.removeEventListener('pointerup', onUp);
    grip.removeEventListener('pointercancel', onCancel);
    window.removeEventListener('keydown', onKey, true);
    const moved = dragging && commit;
    dragging = false;
    mark();
    const { draft } = app.state;
    if (moved && draft !== undefined) move(app, draft, from, to);
  };
  const onUp = (): void => end(true);
  const onCancel = (): void => end(false);
  const onKey = (event: KeyboardEvent): void => {
    if (event.key === 'Escape') end(false);
  };
  grip.addEventListener('pointermove', onMove);
  grip.addEventListener('pointerup', onUp);
  grip.addEventListener('pointercancel', onCancel);
  window.addEventListener('keydown', onKey, true);
}

/** The place that the row `from` would get if it were dropped at height `y`. */
function placeAt(list: Element, from: number, y: number): number {
  let above = 0;
  for (const [index, each] of [...list.children].entries()) {
    const { top, height } = each.getBoundingClientRect();
    if (index !== from && y > top + height / 2) above += 1;
  }
  return above;
}

function scrollAtEdge(y: number): void {
  const page = document.querySelector('.scroll');
  if (page === null) return;
  const { top, bottom } = page.getBoundingClientRect();
  if (y < top + EDGE_PX) page.scrollBy(0, -EDGE_PX / 2);
  if (y > bottom - EDGE_PX) page.scrollBy(0, EDGE_PX / 2);
}
