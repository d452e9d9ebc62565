// The history's file: nothing is lost between windows, nothing grows without end, nothing broken stops the rest.
import { appendFileSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { type Entry, parseEntry } from '../../../src/history/entry';
import { HistoryStore } from '../../../src/history/store';

let folder: string;
let file: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flan-history-'));
  file = join(folder, 'new', 'answers.jsonl');
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

function entry(id: string, head = 'text'): Entry {
  return {
    id,
    time: 1,
    asked: { task: 'explain' },
    subject: {
      uri: 'file:///a.py',
      languageId: 'python',
      start: { line: 0, character: 0 },
      end: { line: 1, character: 2 },
      excerpt: { head },
    },
    answer: 'Adds.',
    seconds: 1,
    result: {
      text: 'Adds.',
      finishReason: 'stop',
      engine: 'cpu',
      device: 'CPU',
      model: 'starter',
      weights: 'int8',
      timings: { loadMs: 0, encodeMs: 1, firstTokenMs: 1, msPerToken: 1 },
      read: { complete: true, fromLine: 1, toLine: 1, lastLine: 1, promptTokens: 1, window: 512 },
      substitutions: [],
      unanswerable: false,
      demo: true,
    },
  };
}

async function ids(store: HistoryStore): Promise<string[]> {
  return (await store.entries()).map(({ id }) => id);
}

it('is read again by the next window', async () => {
  const store = new HistoryStore(file);
  expect(await ids(store)).toEqual([]);
  await Promise.all([store.add(entry('a')), store.add(entry('b'))]);
  expect(await new HistoryStore(file).entries()).toEqual([entry('a'), entry('b')]);
  expect(statSync(file).mode & 0o077).toBe(0);
});

it('keeps what another window added, when an answer is removed', async () => {
  const [one, other] = [new HistoryStore(file), new HistoryStore(file)];
  await one.add(entry('a'));
  await other.add(entry('b'));
  await one.remove('a');
  expect(await ids(new HistoryStore(file))).toEqual(['b']);
});

it('is gone from the disk when it is cleared', async () => {
  const store = new HistoryStore(file);
  await store.add(entry('a'));
  await store.clear();
  expect(existsSync(file)).toBe(false);
  expect(await ids(store)).toEqual([]);
  await store.add(entry('b'));
  expect(await ids(store)).toEqual(['b']);
});

it('lets the oldest go at either bound', async () => {
  const few = new HistoryStore(file, { entries: 8, bytes: 1_000_000 });
  for (let i = 0; i < 20; i++) await few.add(entry(String(i)));
  expect((await ids(few)).at(-1)).toBe('19');
  expect((await ids(few)).length).toBeLessThanOrEqual(8);
  expect(await ids(new HistoryStore(file))).toEqual(await ids(few));

  const small = new HistoryStore(file, { entries: 1000, bytes: 20_000 });
  for (let i = 0; i < 30; i++) await small.add(entry(`big${i}`, 'x'.repeat(3000)));
  expect(statSync(file).size).toBeLessThanOrEqual(20_000);
  expect((await ids(small)).at(-1)).toBe('big29');
});

it('goes on after a line that cannot be read', async () => {
  const store = new HistoryStore(file);
  await store.add(entry('a'));
  appendFileSync(file, '{"id": "half\n[]\nnull\n{"id":"old","time":1}\n');
  await new HistoryStore(file).add(entry('b'));
  expect(await ids(new HistoryStore(file))).toEqual(['a', 'b']);
});

it('without a folder lasts as long as the window', async () => {
  const store = new HistoryStore(undefined);
  await store.add(entry('a'));
  await store.add(entry('b'));
  await store.remove('a');
  expect(await ids(store)).toEqual(['b']);
  await store.clear();
  expect(await ids(store)).toEqual([]);
});

it('takes its entries from nowhere but whole lines', () => {
  expect(parseEntry(JSON.stringify(entry('a')))).toEqual(entry('a'));
  for (const field of ['id', 'time', 'asked', 'subject', 'answer', 'seconds', 'result']) {
    expect(parseEntry(JSON.stringify({ ...entry('a'), [field]: undefined })), field).toBeUndefined();
  }
});

it('replaces entries in the file as it is, with those of other windows', async () => {
  const store = new HistoryStore(file);
  await store.add(entry('a'));
  await store.entries();
  await new HistoryStore(file).add(entry('b'));
  expect(await store.replace(() => undefined)).toBe(false);
  const other = { ...entry('b'), answer: 'Other.' };
  expect(await store.replace(({ id }) => (id === 'b' ? other : undefined))).toBe(true);
  expect(await new HistoryStore(file).entries()).toEqual([entry('a'), other]);
});
