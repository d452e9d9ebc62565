/**
 * Prompt sets as files of a folder. Everything is done through a small seam, since the editor reads workspaces through
 * its own file system (which may be on another machine) and the command line through Node's. Pure.
 */
import { say } from '../saying';
import { type Baseline, toBaseline } from './check';
import { PromptSetFileError } from './errors';
import { formatPromptSet, parsePromptSet } from './file';
import type { PromptSet } from './set';

/** Where the sets of a workspace are, from its root. */
export const PROMPTS_FOLDER = '.flan/prompts';
const SET_ENDING = '.json';
/** The schema that the sets refer to, beside their folder. */
export const SCHEMA_FILE = '../prompt-set.schema.json';
const BASELINES = '../baselines';

/** The folder of sets. Names are relative to it, with `/`. */
export interface PromptFiles {
  /** Names of the files in the folder itself, in any order; empty when there is no folder. */
  list(): Promise<readonly string[]>;
  /** Whole content; undefined when there is no such file. */
  read(name: string): Promise<string | undefined>;
  /** Makes the folder when there is none. Writes to a temporary name in the same folder and renames. */
  write(name: string, text: string): Promise<void>;
  /** Does nothing when there is no such file. */
  remove(name: string): Promise<void>;
}

/** One file of the folder: a set, or why it is none. The text of a broken file is left as it is. */
export type StoredSet =
  | { readonly kind: 'set'; readonly file: string; readonly set: PromptSet }
  | { readonly kind: 'broken'; readonly file: string; readonly error: PromptSetFileError };

/** All sets, by name. A file that cannot be read is listed as broken, after the others. */
export async function listSets(files: PromptFiles): Promise<StoredSet[]> {
  const names = (await files.list()).filter((name) => name.endsWith(SET_ENDING) && !name.startsWith('.'));
  const found = await Promise.all(names.map((name) => loadSet(files, name)));
  const key = (stored: StoredSet) => (stored.kind === 'set' ? `0${stored.set.name}` : `1${stored.file}`);
  return found
    .flatMap((stored) => stored ?? [])
    .sort((a, b) => key(a).localeCompare(key(b)) || a.file.localeCompare(b.file));
}

/** undefined when there is no such file. */
export async function loadSet(files: PromptFiles, file: string): Promise<StoredSet | undefined> {
  const text = await files.read(file);
  if (text === undefined) return undefined;
  try {
    return { kind: 'set', file, set: parsePromptSet(text, file) };
  } catch (error) {
    if (error instanceof PromptSetFileError) return { kind: 'broken', file, error };
    throw error;
  }
}

/**
 * Writes a set. Without `file` it gets a new file, named after the set; an existing file is never overwritten then.
 * @param schema text of the published schema; written beside the folder when it is not there or differs
 * @returns the name of the file
 */
export async function saveSet(files: PromptFiles, set: PromptSet, options: SaveOptions): Promise<string> {
  const file = options.file ?? freeName(set.name, await files.list());
  const text = formatPromptSet(set);
  // A file that stays the same keeps its time, and watchers stay quiet.
  if ((await files.read(file)) !== text) await files.write(file, text);
  if ((await files.read(SCHEMA_FILE)) !== options.schema) await files.write(SCHEMA_FILE, options.schema);
  return file;
}

export interface SaveOptions {
  readonly schema: string;
  /** Overwrite this file. */
  readonly file?: string;
}

/** Gives a set another name; its file and its baseline follow. Returns the name of the new file. */
export async function renameSet(files: PromptFiles, file: string, name: string, schema: string): Promise<string> {
  const set = await readSet(files, file);
  const others = (await files.list()).filter((other) => other !== file);
  const to = freeName(name, others);
  await saveSet(files, { ...set, name }, { schema, file: to });
  if (to === file) return file;
  const baseline = await files.read(baselineFile(file));
  if (baseline !== undefined) await files.write(baselineFile(to), baseline);
  await files.remove(baselineFile(file));
  await files.remove(file);
  return to;
}

/** A copy under a name of its own (`… 2`). Returns the name of the new file. */
export async function duplicateSet(files: PromptFiles, file: string, schema: string): Promise<string> {
  const set = await readSet(files, file);
  const taken = new Set((await listSets(files)).map((stored) => (stored.kind === 'set' ? stored.set.name : '')));
  const stem = set.name.replace(/ \d+$/, '');
  let number = 2;
  while (taken.has(`${stem} ${number}`)) number++;
  return saveSet(files, { ...set, name: `${stem} ${number}` }, { schema });
}

/** The set's file and its baseline. */
export async function deleteSet(files: PromptFiles, file: string): Promise<void> {
  await files.remove(file);
  await files.remove(baselineFile(file));
}

/** @throws PromptSetFileError, also when the file is not there */
async function readSet(files: PromptFiles, file: string): Promise<PromptSet> {
  const stored = await loadSet(files, file);
  if (stored === undefined) throw new PromptSetFileError(file, 1, say('The file is not there any more.'));
  if (stored.kind === 'broken') throw stored.error;
  return stored.set;
}

/** Names that Windows keeps for devices, with any ending. */
const DEVICES = /^(?:con|prn|aux|nul|com\d|lpt\d)$/;
const MAX_STEM_CHARS = 60;

/** A file name that every system accepts: letters and digits of any script, the rest as `-`. */
export function fileNameOf(setName: string): string {
  const stem = [
    ...setName
      .normalize('NFKC')
      .toLowerCase()
      .replaceAll(/[^\p{L}\p{N}]+/gu, '-'),
  ]
    .slice(0, MAX_STEM_CHARS)
    .join('')
    .replaceAll(/^-+|-+$/g, '');
  const safe = stem === '' || DEVICES.test(stem) ? `set${stem === '' ? '' : `-${stem}`}` : stem;
  return `${safe}${SET_ENDING}`;
}

function freeName(setName: string, taken: readonly string[]): string {
  const wanted = fileNameOf(setName);
  const stem = wanted.slice(0, -SET_ENDING.length);
  // Some file systems do not tell case apart, and some write accents in two characters.
  const used = new Set(taken.map((name) => name.normalize('NFKC').toLowerCase()));
  let name = wanted;
  for (let number = 2; used.has(name); number++) name = `${stem}-${number}${SET_ENDING}`;
  return name;
}

function baselineFile(file: string): string {
  return `${BASELINES}/${file}`;
}

/** Keeps the results of a check beside the sets, as text that can be reviewed. */
export async function keepBaseline(
  files: PromptFiles,
  file: string,
  ...made: Parameters<typeof toBaseline>
): Promise<void> {
  await files.write(baselineFile(file), `${JSON.stringify(toBaseline(...made), null, 2)}\n`);
}

/** Does nothing when none was kept. */
export async function forgetBaseline(files: PromptFiles, file: string): Promise<void> {
  await files.remove(baselineFile(file));
}

/** undefined when none was kept. @throws PromptSetFileError when it cannot be read */
export async function loadBaseline(files: PromptFiles, file: string): Promise<Baseline | undefined> {
  const name = baselineFile(file);
  const text = await files.read(name);
  return text === undefined ? undefined : parseBaseline(text, name);
}

/** @throws PromptSetFileError */
export function parseBaseline(text: string, file: string): Baseline {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new PromptSetFileError(file, 1, say('The baseline is no JSON: delete it, and keep a new one.'));
  }
  if (!isBaseline(value)) {
    throw new PromptSetFileError(
      file,
      1,
      say('The file is no baseline of this version: delete it, and keep a new one.'),
    );
  }
  return value;
}

function isBaseline(value: unknown): value is Baseline {
  const { version, examples } = (value ?? {}) as Partial<Baseline>;
  if (version !== 1 || !Array.isArray(examples)) return false;
  return examples.every((example: unknown) => {
    const { input, output, agrees } = (example ?? {}) as Partial<Baseline['examples'][number]>;
    return typeof input === 'string' && typeof output === 'string' && typeof agrees === 'boolean';
  });
}
