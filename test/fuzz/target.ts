/** What one reader is tried with, and what must hold whatever it is given. */
import { FlanError } from '../../server/errors';
import type { OpenFile, ReadHandle } from '../../server/weights/tensorfile';
import type { Mutator } from './mutate';

export interface Target {
  readonly name: string;
  /** Pieces of the format for the mutator. */
  readonly words: readonly (string | Uint8Array)[];
  /** A damaged input. */
  damage(mutator: Mutator): Input;
  /**
   * Reads it. Throws a FlanError where the input is refused, and a Violation where something was accepted that must not
   * be, or differs from what an independent look at the bytes says. Everything else that is thrown is a fault, too.
   */
  read(input: Input): Promise<void>;
}

export interface Input {
  readonly bytes: Buffer;
  /** Where several files belong together: which one was damaged, or which seed it came from. */
  readonly of: number;
}

/** Something that a reader must never do. */
export class Violation extends Error {}

export function must(holds: boolean, what: string): void {
  if (!holds) throw new Violation(what);
}

/** No header, list or directory that is read at once may be larger. */
const MAX_READ = 17 * 1024 * 1024;

/** A file in memory that counts as violated when it is read outside. */
export function memoryFile(bytes: Buffer, path = '/fuzz/file'): OpenFile {
  const read = async (target: Uint8Array, offset: number, length: number, position: number) => {
    must(Number.isSafeInteger(position) && position >= 0, `read at ${position}`);
    must(position + length <= bytes.length, `read to ${position + length} of ${bytes.length} bytes`);
    must(target.length <= MAX_READ, `a buffer of ${target.length} bytes`);
    target.set(bytes.subarray(position, position + length), offset);
    return { bytesRead: length, buffer: target };
  };
  const handle = { read, close: async () => {} } as unknown as ReadHandle;
  return { path, handle, fileBytes: bytes.length, mtimeMs: 0 };
}

/** Whether an error is one that a person may see: a FlanError of one line, without control characters, of a fair length. */
export function isRefusal(error: unknown): error is FlanError {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what must not be there.
  return error instanceof FlanError && error.message.length < 1000 && !/[\u0000-\u001f\u007f]/.test(error.message);
}
