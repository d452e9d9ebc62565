/** Places in a text, and how they move when the text is edited. Pure: `vscode.Position` and `vscode.Range` fit as they are. */

/** 0-based; `character` counts UTF-16 units, as the editor does. */
export interface Place {
  readonly line: number;
  readonly character: number;
}

export interface Span {
  readonly start: Place;
  readonly end: Place;
}

/** One replacement: the text of `range` became `text`. */
export interface Change {
  readonly range: Span;
  readonly text: string;
}

/** Negative when `a` comes before `b`. */
export function compare(a: Place, b: Place): number {
  return a.line - b.line || a.character - b.character;
}

/**
 * Where `span` is after the changes of one event, which the editor lists from the last to the first. What is typed at
 * either edge stays outside; what is cut off at an edge is gone from the span. A replacement of all of it is its new text.
 */
export function moved(span: Span, changes: readonly Change[]): Span {
  return changes.reduce(movedOnce, span);
}

function movedOnce(span: Span, { range, text }: Change): Span {
  const newEnd = endOf(range.start, text);
  const replaced = compare(range.start, span.start) <= 0 && compare(range.end, span.end) >= 0;
  const empty = compare(span.start, span.end) === 0;
  if (replaced && !empty && compare(range.start, span.start) === 0 && compare(range.end, span.end) === 0) {
    return { start: span.start, end: newEnd };
  }
  const start =
    compare(span.start, range.end) >= 0
      ? shifted(span.start, range.end, newEnd)
      : compare(span.start, range.start) <= 0
        ? span.start
        : newEnd;
  const end =
    compare(span.end, range.start) <= 0
      ? span.end
      : compare(span.end, range.end) >= 0
        ? shifted(span.end, range.end, newEnd)
        : range.start;
  return compare(start, end) <= 0 ? { start, end } : { start: end, end };
}

/** The place after `text` that begins at `start`. */
export function endOf(start: Place, text: string): Place {
  const lines = text.split(/\r\n|\r|\n/);
  const last = lines[lines.length - 1] ?? '';
  return lines.length === 1
    ? { line: start.line, character: start.character + last.length }
    : { line: start.line + lines.length - 1, character: last.length };
}

/** `place`, which is not before `oldEnd`, after `oldEnd` has become `newEnd`. */
function shifted(place: Place, oldEnd: Place, newEnd: Place): Place {
  const character =
    place.line === oldEnd.line ? place.character - oldEnd.character + newEnd.character : place.character;
  return { line: place.line - oldEnd.line + newEnd.line, character };
}
