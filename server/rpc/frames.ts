/**
 * A guard in front of the message reader: it follows the `Content-Length` frames of the byte stream and ends the
 * connection at the first one that is malformed or too long, before anything is kept in memory for it.
 */
import { Transform, type TransformCallback } from 'node:stream';
import { FlanError } from '../errors';

/** The longest text a client may send is 2 MB; escaped as JSON that is 12 MB at worst. Stops a client from filling the memory. */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;
/** Two header lines are sent; a header without end would otherwise be scanned again with every chunk. */
const MAX_HEADER_BYTES = 1024;

export class FrameError extends FlanError {
  constructor(what: string) {
    super('frame', `${what}. The connection was closed; connect again.`);
  }
}

export class FrameGuard extends Transform {
  #header = '';
  #bodyLeft = 0;

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    try {
      this.#follow(chunk);
      done(null, chunk);
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
    }
  }

  #follow(chunk: Buffer): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#bodyLeft > 0) {
        const step = Math.min(this.#bodyLeft, chunk.length - at);
        this.#bodyLeft -= step;
        at += step;
        continue;
      }
      // One byte at a time: a header has some thirty of them, and its end may lie across two chunks.
      this.#header += String.fromCharCode(chunk[at++] ?? 0);
      if (this.#header.length > MAX_HEADER_BYTES) throw new FrameError('A message header is too long');
      if (this.#header.endsWith('\r\n\r\n')) {
        this.#bodyLeft = bodyLength(this.#header);
        this.#header = '';
      }
    }
  }
}

function bodyLength(header: string): number {
  const match = /^content-length: *(\d+) *$/im.exec(header);
  const length = match?.[1] === undefined ? Number.NaN : Number(match[1]);
  if (!Number.isSafeInteger(length) || length === 0) throw new FrameError('A message has no valid Content-Length');
  if (length > MAX_MESSAGE_BYTES) {
    throw new FrameError(`A message of ${length} bytes is over the limit of ${MAX_MESSAGE_BYTES}`);
  }
  return length;
}
