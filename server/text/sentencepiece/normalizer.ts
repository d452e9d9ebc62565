/** How SentencePiece brings a text into the form that its pieces are of. */
import { Charsmap } from './charsmap';
import type { SentencePieceModel } from './model';

const SPACE = '▁';
const encoder = new TextEncoder();
// A byte order mark is a character like any other here.
const decoder = new TextDecoder('utf-8', { ignoreBOM: true });

export class Normalizer {
  readonly #model: Omit<SentencePieceModel, 'pieces' | 'kind' | 'byteFallback'>;
  readonly #charsmap: Charsmap | undefined;
  /** Pieces that a user defined are left as they are: by their first byte, the longest first. */
  readonly #kept = new Map<number, Uint8Array[]>();

  /** @throws RangeError for a damaged table */
  constructor(model: SentencePieceModel) {
    this.#model = model;
    this.#charsmap = model.charsmap.length === 0 ? undefined : new Charsmap(model.charsmap);
    const kept = model.pieces.filter(({ type, text }) => type === 'user' && text !== '');
    for (const bytes of kept.map(({ text }) => encoder.encode(text)).sort((a, b) => b.length - a.length)) {
      const first = bytes[0] as number;
      this.#kept.set(first, [...(this.#kept.get(first) ?? []), bytes]);
    }
  }

  normalize(text: string): string {
    const { removeExtraSpaces, addDummyPrefix, spaceBehind, escapeSpaces } = this.#model;
    const space = escapeSpaces ? SPACE : ' ';
    const bytes = encoder.encode(text);
    let at = 0;
    if (removeExtraSpaces) {
      while (at < bytes.length) {
        const { text: written, length } = this.#prefix(bytes, at);
        if (written !== ' ') break;
        at += length;
      }
    }
    if (at >= bytes.length) return '';
    const parts: string[] = [];
    if (addDummyPrefix && !spaceBehind) parts.push(space);
    let afterSpace = removeExtraSpaces;
    while (at < bytes.length) {
      const { text: found, length } = this.#prefix(bytes, at);
      const written = afterSpace ? found.replace(/^ +/, '') : found;
      if (written !== '') {
        parts.push(escapeSpaces ? written.replaceAll(' ', SPACE) : written);
        afterSpace = removeExtraSpaces && written.endsWith(' ');
      }
      at += length;
    }
    let normalized = parts.join('');
    if (removeExtraSpaces) while (normalized.endsWith(space)) normalized = normalized.slice(0, -space.length);
    return addDummyPrefix && spaceBehind ? normalized + space : normalized;
  }

  /** What stands for the bytes from `at` on, and how many of them it stands for. */
  #prefix(bytes: Uint8Array, at: number): { readonly text: string; readonly length: number } {
    for (const kept of this.#kept.get(bytes[at] as number) ?? []) {
      if (kept.every((byte, i) => bytes[at + i] === byte)) return { text: decoder.decode(kept), length: kept.length };
    }
    const found = this.#charsmap?.longest(bytes, at);
    if (found !== undefined) return found;
    const length = characterBytes(bytes[at] as number);
    return { text: decoder.decode(bytes.subarray(at, at + length)), length };
  }
}

/** Bytes of a character by its first one; the text came from a string, so it is whole. */
function characterBytes(first: number): number {
  return first < 0x80 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
}
