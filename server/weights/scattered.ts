/** Tensors whose elements do not lie row after row: transposed ones, columns of others, one value under many indices. */

/** How a tensor lies in its storage when it is not row after row. */
export interface Scattered {
  /** Elements from one index to the next, by dimension. */
  readonly strides: readonly number[];
  /** From the tensor's first element to behind its last one, in bytes. */
  readonly spanBytes: number;
}

/**
 * All from the first to the last element is held in memory, because any row may need any part of it. The largest matrix of
 * Flan-UL2 takes 263 MB, that of mT5 XL in F32 2 GB: such a one is refused.
 */
export const MAX_SPAN_BYTES = 1024 * 1024 * 1024;

/** A tensor that is larger than what it lies in repeats its values: a weight matrix never does. */
export const MAX_REPEATED_BYTES = 64 * 1024 * 1024;

/** Undefined for a tensor that lies row after row. `size`: bytes of one element. No dimension is 0. */
export function scattered(shape: readonly number[], strides: readonly number[], size: number): Scattered | undefined {
  let expected = 1;
  let last = 0;
  let plain = true;
  for (let d = shape.length - 1; d >= 0; d--) {
    const [length, stride] = [shape[d] ?? 0, strides[d] ?? 0];
    // A dimension of one index has no next one: its stride says nothing.
    if (length > 1 && stride !== expected) plain = false;
    last += (length - 1) * stride;
    expected *= length;
  }
  return plain ? undefined : { strides, spanBytes: (last + 1) * size };
}

/**
 * Fills `target` with elements in the order of their indices, from the element `first` on.
 *
 * @param span from the tensor's first element on; starts at a multiple of `size` in its buffer, as `target` does.
 * @param size bytes of one element.
 */
export function gather(
  span: Uint8Array,
  size: 1 | 2 | 4 | 8,
  shape: readonly number[],
  { strides }: Scattered,
  first: number,
  target: Uint8Array,
): void {
  // 64 bits are moved as two halves, which are one more dimension.
  const halves = size === 8 ? 2 : 1;
  const [from, to] = [wordsOf(span, size), wordsOf(target, size)];
  const inner = shape.at(-1) ?? 1;
  const step = (strides.at(-1) ?? 0) * halves;
  for (let done = 0; done < to.length; ) {
    const element = first + done / halves;
    let row = Math.floor(element / inner);
    const column = element - row * inner;
    let at = 0;
    for (let d = shape.length - 2; d >= 0; d--) {
      const length = shape[d] ?? 1;
      const next = Math.floor(row / length);
      at += (row - next * length) * (strides[d] ?? 0) * halves;
      row = next;
    }
    at += column * step;
    const count = Math.min(inner - column, (to.length - done) / halves);
    if (halves === 1) for (let i = 0; i < count; i++, at += step) to[done++] = from[at] ?? 0;
    else
      for (let i = 0; i < count; i++, at += step) {
        to[done++] = from[at] ?? 0;
        to[done++] = from[at + 1] ?? 0;
      }
  }
}

/** Bytes as unsigned numbers of an element's size, whatever they mean; 64 bits as two of them. */
function wordsOf(
  { buffer, byteOffset, length }: Uint8Array,
  size: 1 | 2 | 4 | 8,
): Uint8Array | Uint16Array | Uint32Array {
  if (size === 1) return new Uint8Array(buffer, byteOffset, length);
  if (size === 2) return new Uint16Array(buffer, byteOffset, length / 2);
  return new Uint32Array(buffer, byteOffset, length / 4);
}
