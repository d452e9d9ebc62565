// Unsaved changes outlive the window that they were made in.
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { newPromptSet } from '../../../server/prompts/set';
import { Drafts } from '../../../src/panel/drafts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'flan-drafts-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true, force: true });
});

const draft = (instruction: string) => ({ set: { ...newPromptSet('Set'), instruction }, base: 'saved' });

async function reopened(where: string): Promise<Drafts> {
  const drafts = new Drafts(where, (error) => expect.unreachable(String(error)));
  await drafts.load();
  return drafts;
}

it('are written while somebody types, without the end of anything', async () => {
  const storage = join(folder, 'storage');
  const drafts = await reopened(storage);
  drafts.put('a', draft('first'));
  await expect.poll(async () => (await reopened(storage)).get('a')).toEqual(draft('first'));
  drafts.put('a', draft('second'));
  drafts.put('b', draft('other'));
  await expect.poll(async () => (await reopened(storage)).get('b')).toEqual(draft('other'));
  expect((await reopened(storage)).get('a')).toEqual(draft('second'));
  drafts.drop('a');
  await expect.poll(async () => (await reopened(storage)).get('a')).toBeUndefined();
  drafts.dispose();
  expect(readdirSync(storage)).toEqual(['prompt-drafts.json']);
});

it('are written to the last key press when the window goes', async () => {
  const drafts = await reopened(folder);
  drafts.put('a', draft('one'));
  drafts.put('a', draft('two'));
  drafts.dispose();
  expect((await reopened(folder)).get('a')).toEqual(draft('two'));
});

it('tell when they cannot be written, and start empty from a file that is none', async () => {
  writeFileSync(join(folder, 'prompt-drafts.json'), '{ broken');
  expect((await reopened(folder)).get('a')).toBeUndefined();
  writeFileSync(join(folder, 'file'), '');
  const failures: unknown[] = [];
  const drafts = new Drafts(join(folder, 'file', 'storage'), (error) => failures.push(error));
  drafts.put('a', draft('lost'));
  await expect.poll(() => failures.length).toBeGreaterThan(0);
  expect(drafts.get('a')).toEqual(draft('lost'));
});
