// Sets in a folder: a folder of the real file system, through the command line's seam.
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { filesIn, findSet, promptsFolder, writeRenamed } from '../../../server/cli/promptfiles';
import { summarize } from '../../../server/prompts/check';
import { PromptSetFileError } from '../../../server/prompts/errors';
import {
  deleteSet,
  duplicateSet,
  fileNameOf,
  keepBaseline,
  listSets,
  loadBaseline,
  loadSet,
  type PromptFiles,
  renameSet,
  saveSet,
} from '../../../server/prompts/store';
import type { CheckReport } from '../../../server/protocol';
import { SET } from './support';

const schema = '{ "schema": true }\n';
let root: string;
let folder: string;
let files: PromptFiles;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'flan-sets-'));
  folder = join(root, '.flan', 'prompts');
  files = filesIn(folder);
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const save = (name: string) => saveSet(files, { ...SET, name }, { schema });
const report: CheckReport = {
  engine: 'cpu',
  device: 'CPU',
  model: 'm',
  weights: 'int8',
  demo: false,
  examples: [],
  ...summarize([]),
  cancelled: false,
};

describe('file names', () => {
  it.each([
    ['Classify a log line', 'classify-a-log-line.json'],
    ['  ../../etc/passwd ', 'etc-passwd.json'],
    ['日志分类', '日志分类.json'],
    ['Déjà Vu!', 'déjà-vu.json'],
    ['CON', 'set-con.json'],
    ['com1', 'set-com1.json'],
    ['???', 'set.json'],
    ['x'.repeat(100), `${'x'.repeat(60)}.json`],
  ])('of %j is %j', (name, file) => {
    expect(fileNameOf(name)).toBe(file);
  });
});

describe('the store', () => {
  it('is empty where there is no folder, and makes one', async () => {
    expect(await listSets(files)).toEqual([]);
    expect(await loadSet(files, 'none.json')).toBeUndefined();
    expect(await save('Mood')).toBe('mood.json');
    expect(readdirSync(folder)).toEqual(['mood.json']);
    expect(readFileSync(join(root, '.flan', 'prompt-set.schema.json'), 'utf8')).toBe(schema);
    const { $schema } = JSON.parse(readFileSync(join(folder, 'mood.json'), 'utf8')) as { $schema: string };
    expect(existsSync(join(folder, $schema))).toBe(true);
  });

  it('never overwrites another set, also where file names have no case', async () => {
    expect(await save('Mood')).toBe('mood.json');
    expect(await save('MOOD?')).toBe('mood-2.json');
    writeFileSync(join(folder, 'Other.json'), '{}');
    expect(await save('other')).toBe('other-2.json');
  });

  it('does not touch a file that stays the same', async () => {
    const writes: string[] = [];
    const write = (name: string, text: string) => {
      writes.push(name);
      return files.write(name, text);
    };
    const watched: PromptFiles = { ...files, write };
    const file = await saveSet(watched, SET, { schema });
    expect(writes).toEqual([file, '../prompt-set.schema.json']);
    await saveSet(watched, SET, { schema, file });
    expect(writes).toHaveLength(2);
    await saveSet(watched, { ...SET, instruction: 'New.' }, { schema, file });
    expect(writes).toHaveLength(3);
  });

  it('lists sets by name, and broken files after them, as they are', async () => {
    await save('b');
    await save('A');
    writeFileSync(join(folder, 'broken.json'), '{\n "name": 1 }');
    writeFileSync(join(folder, 'notes.md'), '# no set');
    mkdirSync(join(folder, 'folder.json'));
    const listed = await listSets(files);
    expect(listed.map(({ file }) => file)).toEqual(['a.json', 'b.json', 'broken.json']);
    const broken = listed[2];
    expect(broken?.kind === 'broken' && broken.error).toMatchObject({ line: 2, file: 'broken.json' });
    expect(readFileSync(join(folder, 'broken.json'), 'utf8')).toBe('{\n "name": 1 }');
  });

  it('renames, duplicates and deletes, and the baseline goes along', async () => {
    const file = await save('Mood');
    await keepBaseline(files, file, SET, report);
    expect(await loadBaseline(files, file)).toMatchObject({ version: 1, model: 'm' });

    const renamed = await renameSet(files, file, 'Other mood', schema);
    expect(renamed).toBe('other-mood.json');
    expect(await loadSet(files, renamed)).toMatchObject({ kind: 'set', set: { name: 'Other mood' } });
    expect(await loadSet(files, file)).toBeUndefined();
    expect(await loadBaseline(files, file)).toBeUndefined();
    expect(await loadBaseline(files, renamed)).toMatchObject({ model: 'm' });
    // Only its case: the same file.
    expect(await renameSet(files, renamed, 'OTHER mood', schema)).toBe(renamed);

    expect(await duplicateSet(files, renamed, schema)).toBe('other-mood-2.json');
    expect(await duplicateSet(files, renamed, schema)).toBe('other-mood-3.json');
    const names = (await listSets(files)).map((stored) => (stored.kind === 'set' ? stored.set.name : ''));
    expect(names).toEqual(['OTHER mood', 'OTHER mood 2', 'OTHER mood 3']);

    await deleteSet(files, renamed);
    expect(await loadBaseline(files, renamed)).toBeUndefined();
    expect(readdirSync(folder)).toHaveLength(2);
    await expect(renameSet(files, renamed, 'x', schema)).rejects.toThrow(PromptSetFileError);
  });

  it('refuses a baseline that is none, by name', async () => {
    mkdirSync(join(root, '.flan', 'baselines'), { recursive: true });
    for (const text of ['', '[]', '{"version":2,"examples":[]}', '{"version":1,"examples":[{}]}']) {
      writeFileSync(join(root, '.flan', 'baselines', 'mood.json'), text);
      await expect(loadBaseline(files, 'mood.json')).rejects.toThrow(/mood\.json, line 1: .*delete it/);
    }
  });
});

describe('on the command line', () => {
  it('a set is found from any folder below', async () => {
    await save('Mood');
    const below = join(root, 'src', 'deep');
    mkdirSync(below, { recursive: true });
    expect(promptsFolder(below)).toBe(folder);
    expect((await findSet('mood', below)).stored?.file).toBe('mood.json');
    expect((await findSet(join(folder, 'mood.json'), tmpdir())).stored?.file).toBe('mood.json');
    // A set of one's own goes before one of the gallery with the same name.
    await save('sentiment');
    expect((await findSet('sentiment', below)).stored?.file).toBe('sentiment.json');
    expect((await findSet('情感判断', below)).set.name).toBe('Sentiment');
    await expect(findSet('nothing', below)).rejects.toThrow(/mood, sentiment, log-line/);
  });

  it('a file is replaced whole, and nothing else is left', () => {
    const path = join(root, 'out', 'a.csv');
    writeRenamed(path, 'one');
    writeRenamed(path, 'two');
    expect(readFileSync(path, 'utf8')).toBe('two');
    expect(readdirSync(join(root, 'out'))).toEqual(['a.csv']);
    expect(() => writeRenamed(join(path, 'b'), 'x')).toThrow(/cannot be written/);
  });
});
