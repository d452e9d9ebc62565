// Answers without a mouse: asked for, reached, used, stopped and put away by keys alone.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser, Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { Editor, launchBrowser } from '../support/editor';
import { FILES } from '../support/files';
import { Workbench } from '../support/workbench';

let workbench: Workbench;
let browser: Browser;
let editor: Editor;
let page: Page;

beforeAll(async () => {
  workbench = await Workbench.start({ files: FILES });
  browser = await launchBrowser();
  editor = await Editor.open(browser, workbench);
  page = editor.page;
});

afterEach(async ({ task }) => {
  workbench.resumeServer();
  if (task.result?.state === 'fail') await editor.picture(`failed-${task.name}`);
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

/** Opens a picker, types, and takes the row that is marked when it is the one that is meant. */
async function pick(key: string, typed: string, row: string): Promise<void> {
  await page.keyboard.press(key);
  await editor.quickPick.locator('input.input').waitFor();
  await page.keyboard.type(typed);
  await editor.quickPick.locator('.monaco-list-row.focused', { hasText: row }).waitFor();
  await page.keyboard.press('Enter');
  await editor.quickPick.waitFor({ state: 'hidden' });
}

const command = (title: string): Promise<void> => pick('F1', title, title);

async function select(file: string, line: number, lines: number): Promise<void> {
  await pick('Control+p', file, file);
  await page.locator('.tab.active', { hasText: file }).waitFor();
  await pick('Control+g', String(line), String(line));
  await page.keyboard.press('Home');
  for (let i = 0; i < lines; i++) await page.keyboard.press('Shift+ArrowDown');
}

/** What a screen reader says of the element with the focus; empty outside of threads. */
function focused(): Promise<string> {
  const script = `(() => {
    const { activeElement } = document;
    return activeElement?.closest('.review-widget') ? (activeElement.getAttribute('aria-label') ?? '') : '';
  })()`;
  return page.evaluate<string>(script);
}

/** To the thread, which says what it is. */
async function goToThread(): Promise<void> {
  await command('Flan: Go to the Answer');
  await expect.poll(focused).toContain('Comment thread with');
}

const file = (name: string): string => readFileSync(join(workbench.workspace, name), 'utf8');

it('an answer is asked for, copied and tried again', async () => {
  await select('retry.py', 4, 9);
  await command('Flan: Explain Selection');
  const thread = editor.thread('Explanation · lines 4 to 12');
  await thread.settled();
  const answer = await thread.answer();
  // The editor would open its list of comments with the first thread.
  expect(await page.locator('.comments-panel').count()).toBe(0);

  await command('Flan: Copy the Answer');
  await expect.poll(() => page.evaluate<string>('navigator.clipboard.readText()')).toBe(answer);

  await command('Flan: Retry the Answer');
  await expect.poll(() => workbench.answersKept()).toBe(2);
  await thread.settled();
  expect(await thread.answer()).toBe(answer);
});

it('a question is typed into the reply box and sent', async () => {
  const thread = editor.thread('Explanation');
  await goToThread();
  await page.keyboard.press('Control+ArrowDown');
  await thread.root.locator('.comment-form .monaco-editor.focused').waitFor();
  await page.keyboard.type('What is raised?');
  await page.keyboard.press('Control+Enter');
  await expect.poll(() => thread.comments.count()).toBe(3);
  await thread.settled();
});

it('an answer goes into the text and into a document', async () => {
  const thread = editor.thread('Explanation');
  const [word = ''] = (await thread.answer(0)).split(' ');
  await goToThread();
  await page.keyboard.press('Tab');
  await expect.poll(focused).toBe('Insert the Answer as a Comment');
  await editor.picture('keyboard');
  await page.keyboard.press('Enter');
  await expect.poll(() => editor.text()).toContain(`# ${word}`);
  await command('View: Focus Active Editor Group');
  await page.keyboard.press('Control+z');
  await expect.poll(() => editor.text()).not.toContain(`# ${word}`);

  await pick('Control+g', '13', '13');
  await command('Flan: Insert the Answer at the Cursor');
  await page.keyboard.press('Control+s');
  const last = (await thread.answer()).split(' ', 3).join(' ');
  await expect.poll(() => file('retry.py').split('\n')[12]).toContain(last);

  await command('Flan: Open the Answer as a Document');
  await page.locator('.tab.active', { hasText: '.md' }).waitFor();
  await expect.poll(() => editor.text()).toContain('What is raised?');
  await page.keyboard.press('Control+F4');
  await command('View: Close Editor');
});

it('a thread is resolved, opened again and removed', async () => {
  await pick('Control+p', 'retry.py', 'retry.py');
  const { root } = editor.thread('Explanation');
  await command('Flan: Resolve This Thread');
  await root.waitFor({ state: 'hidden' });
  await command('Flan: Unresolve This Thread');
  await root.waitFor();
  await command('Flan: Remove This Thread');
  await root.waitFor({ state: 'detached' });
});

it('what is being written is stopped', async () => {
  await select('numbers.txt', 1, 0);
  await page.keyboard.press('Control+a');
  workbench.holdServer();
  await command('Flan: Explain Selection');
  const thread = editor.thread('Explanation · lines 1 to 200');
  await workbench.crawlUntil(() => thread.isWriting());
  await command('Flan: Stop Answering');
  // Held until the editor has told it.
  await page.waitForTimeout(300);
  workbench.resumeServer();
  await thread.settled();
  expect(await thread.smallPrint()).toContain('stopped');
});
