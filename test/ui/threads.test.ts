// What a thread does beside answering: it keeps its place, can be resolved, and its answer goes where it is wanted.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Editor, launchBrowser, type Thread } from './support/editor';
import { FILES } from './support/files';
import { Workbench } from './support/workbench';

const page = `<?xml version="1.0"?>
<list>
  <items>
    <item>Every snapshot is compressed before it is uploaded.</item>
  </items>
</list>
`;

let workbench: Workbench;
let browser: Browser;
let editor: Editor;

beforeAll(async () => {
  workbench = await Workbench.start({ files: { ...FILES, 'page.xml': page } });
  browser = await launchBrowser();
  editor = await Editor.open(browser, workbench);
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

beforeEach(async () => {
  await editor.closeThreads();
});

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await editor.picture(`failed-${task.name}`);
});

function file(name: string): string {
  return readFileSync(join(workbench.workspace, name), 'utf8');
}

async function explained(name: string, from: number, to: number): Promise<Thread> {
  await editor.command('View: Show Explorer');
  await editor.openFile(name);
  await editor.selectLines(from, to);
  await editor.command('Flan: Explain Selection');
  const thread = editor.thread('Explanation');
  await thread.settled();
  return thread;
}

describe('a thread', () => {
  it('follows its text when lines come and go above it, and says when the text itself was edited', async () => {
    const thread = await explained('retry.py', 4, 12);
    const top = async (): Promise<number> => (await thread.root.boundingBox())?.y ?? 0;
    const before = await top();
    await editor.goToLine(1);
    await editor.page.keyboard.press('Enter');
    await editor.page.keyboard.press('Enter');
    await expect.poll(() => thread.title()).toBe('Explanation · lines 6 to 14');
    expect(await top()).toBeGreaterThan(before + 20);

    // A new answer draws the thread again: it must not jump back.
    await thread.reply('What is raised?');
    await expect.poll(() => thread.comments.count()).toBe(3);
    await thread.settled();
    expect(await thread.title()).toBe('Explanation · lines 6 to 14');
    expect(await top()).toBeGreaterThan(before + 20);

    await editor.goToLine(7);
    await editor.page.keyboard.press('End');
    await editor.page.keyboard.type(' # more');
    await expect.poll(() => thread.title()).toBe('Explanation · lines 6 to 14 · edited since');
    await editor.picture('edited-since');
    for (let i = 0; i < 8; i++) await editor.page.keyboard.press('Control+z');
    await expect.poll(() => thread.title()).toBe('Explanation · lines 4 to 12');

    await editor.selectLines(4, 12);
    await editor.page.keyboard.press('Delete');
    await expect.poll(() => thread.title()).toContain('its text is gone');
    await editor.page.keyboard.press('Control+z');
    await expect.poll(() => thread.title()).toBe('Explanation · lines 4 to 12');
  });

  it('is folded when it is resolved, and comes back', async () => {
    const thread = await explained('retry.py', 4, 12);
    await thread.titleAction('Resolve').click();
    await expect.poll(() => thread.root.count()).toBe(0);
    await editor.page.locator('.comment-range-glyph').first().click();
    await thread.titleAction('Unresolve').click();
    await thread.titleAction('Resolve').waitFor();
  });
});

describe('an answer', () => {
  it('becomes a comment above the text, with its indentation, in one step for undo', async () => {
    const thread = await explained('retry.py', 6, 9);
    const answer = (await thread.answer()).split(/\s+/);
    const before = file('retry.py');
    await thread.action('Insert the Answer as a Comment').click();
    await expect.poll(() => file('retry.py')).not.toBe(before);
    const lines = file('retry.py').split('\n');
    const added = lines.slice(5, lines.length - before.split('\n').length + 5);
    for (const line of added) expect(line).toMatch(/^ {4}# \S/);
    for (const line of added) expect(line.length).toBeLessThanOrEqual(80);
    expect(added.flatMap((line) => line.slice(6).split(' '))).toEqual(answer);
    await expect.poll(() => thread.title()).toBe(`Explanation · lines ${6 + added.length} to ${9 + added.length}`);
    await editor.picture('inserted-comment');
    await editor.page.locator('.editor-group-container.active .monaco-editor').first().press('Control+z');
    await expect.poll(() => file('retry.py')).toBe(before);
  });

  it('becomes a block comment where a language has no others', async () => {
    const thread = await explained('page.xml', 4, 4);
    await thread.action('Insert the Answer as a Comment').click();
    await expect.poll(() => file('page.xml')).toMatch(/^ {4}<!--[\s\S]*?-->\n {4}<item>Every/m);
  });

  it('of a text without comments can go to the cursor instead', async () => {
    const thread = await explained('numbers.txt', 1, 3);
    const answer = await thread.answer();
    await thread.action('Insert the Answer as a Comment').click();
    await editor.toast('has no comments').waitFor();
    await editor.page.locator('.notification-toast a.monaco-button', { hasText: 'Insert at the Cursor' }).click();
    await expect.poll(() => file('numbers.txt')).toContain(answer);
  });

  it('opens as a document that says where it comes from', async () => {
    const thread = await explained('notes.md', 1, 4);
    const answer = await thread.answer();
    await thread.moreActions('Open the Answer as a Document');
    await editor.page.locator('.tab.active', { hasText: 'Explanation · lines 1 to 4.md' }).waitFor();
    const text = await editor.text();
    expect(text).toContain('notes.md');
    expect(text.replace(/\s+/g, ' ')).toContain(answer.replace(/\s+/g, ' ').slice(0, 60));
    await editor.picture('as-document');
  });
});
