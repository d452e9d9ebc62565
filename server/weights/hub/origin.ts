/** What a pulled model's folder says of where it came from: `origin.json`, with the sum of every file. */
import { readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../small';
import { diskErrors } from '../writer';

export const ORIGIN_FILE = 'origin.json';

export interface OriginFile {
  readonly path: string;
  readonly bytes: number;
  /** Hexadecimal, where it is known. */
  readonly sha256?: string;
}

export interface Origin {
  readonly repository: string;
  readonly revision: string;
  readonly commit: string;
  /** The hub's host; empty for the Hugging Face cache. */
  readonly hub: string;
  /** When it was installed, ISO 8601. */
  readonly pulled: string;
  /** The original weights that the int8 file was made from. */
  readonly weights: readonly OriginFile[];
  /** The other files of the folder, and the original weights where they were kept. */
  readonly files: readonly OriginFile[];
}

/** Undefined where there is none, or none that can be read. */
export async function readOrigin(dir: string): Promise<Origin | undefined> {
  try {
    const origin = JSON.parse(await readFile(join(dir, ORIGIN_FILE), 'utf8')) as Partial<Origin>;
    const { repository, revision, commit, weights, files } = origin;
    const named = [repository, revision, commit].every((value) => typeof value === 'string');
    return named && Array.isArray(weights) && Array.isArray(files) ? (origin as Origin) : undefined;
  } catch (error) {
    if (error instanceof SyntaxError || errorCode(error) !== undefined) return undefined;
    throw error;
  }
}

export async function writeOrigin(dir: string, origin: Origin): Promise<void> {
  const path = join(dir, ORIGIN_FILE);
  const temporary = `${path}.tmp`;
  try {
    await diskErrors(path, () => writeFile(temporary, `${JSON.stringify(origin, null, 2)}\n`));
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
