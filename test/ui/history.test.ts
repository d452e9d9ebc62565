// The history: what was answered is listed, found by its words, and shown at its text again. In a window with two folders.
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Editor, launchBrowser, type Thread } from './support/editor';
import { FILES } from './support/files';
import { Workbench } from './support/workbench';

let workbench: Workbench;
let browser: Browser;
let editor: Editor;

beforeAll(async () => {
  workbench = await Workbench.start({
    files: {
      'one/retry.py': FILES['retry.py'],
      'one/notes.md': FILES['notes.md'],
      'two/days.md': 'The default is 30 days.\n',
      'both.code-workspace': JSON.stringify({ folders: [{ path: 'one' }, { path: 'two' }] }),
    },
  });
  browser = await launchBrowser();
  editor = await Editor.open(browser, workbench, workbench.workspaceUrl('both.code-workspace'));
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

const RETRY = 'one/retry.py';

function write(text: string): void {
  writeFileSync(join(workbench.workspace, RETRY), text);
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

describe('the history', () => {
  const rows = (text: string | RegExp) =>
    editor.page.locator('.pane-body .monaco-list-row[aria-level="2"]', { hasText: text });

  it('lists what was answered, and shows it at its text wherever that has gone', async () => {
    const thread = await explained('retry.py', 4, 12);
    const answer = await thread.answer();
    await thread.reply('What is raised?');
    await expect.poll(() => thread.comments.count()).toBe(3);
    await thread.settled();
    await editor.closeThreads();

    const before = readFileSync(join(workbench.workspace, RETRY), 'utf8');
    try {
      write(`# new\n# new\n${before}`);
      await editor.command('Flan: Show the History');
      await expect.poll(() => rows(/retry\.py|raised/).count()).toBe(2);
      await editor.picture('history');
      await rows('Explanation of one/retry.py').click();
      const reopened = editor.thread('Explanation · lines 6 to 14');
      await reopened.action('Copy the Answer').waitFor();
      expect(await reopened.answer()).toBe(answer);
      expect(await reopened.smallPrint()).toContain('starter · ');
      await editor.picture('history-reopened');

      // Once more is the same thread, not another one.
      await rows('Explanation of one/retry.py').click();
      // What a command of the palette does comes after what the click did.
      await editor.command('Flan: Show the History');
      expect(await editor.threads.root.count()).toBe(1);

      write('# nothing left\n');
      // The editor reads the file again in its own time, and the thread says what it finds.
      await expect.poll(() => editor.threads.title()).toContain('its text is gone');
      await editor.closeThreads();
      await rows('Explanation of one/retry.py').click();
      await editor.toast('no longer in one/retry.py').waitFor();
      await expect.poll(() => editor.text()).toContain(answer.split('\n')[0]);
      await editor.picture('history-gone');
    } finally {
      write(before);
    }
  });

  it('follows a file that is renamed, as its threads do', async () => {
    const rename = async (from: string, to: string): Promise<void> => {
      await editor.command('View: Show Explorer');
      const row = editor.page.locator('.explorer-folders-view .monaco-list-row', { hasText: from });
      await row.click();
      await row.press('F2');
      await editor.page.locator('.explorer-item-edited input').fill(to);
      await editor.page.keyboard.press('Enter');
      await editor.page.locator('.tab.active', { hasText: to }).waitFor();
    };
    const thread = await explained('retry.py', 4, 12);
    const answer = await thread.answer();
    await rename('retry.py', 'again.py');
    try {
      await thread.action('Copy the Answer').waitFor();
      expect(await thread.title()).toBe('Explanation · lines 4 to 12');
      expect(await thread.answer()).toBe(answer);
      await editor.picture('renamed');
      await editor.closeThreads();
      await editor.command('Flan: Show the History');
      await rows('Explanation of one/again.py').first().click();
      await editor.page.locator('.tab.active', { hasText: 'again.py' }).waitFor();
      await thread.action('Copy the Answer').waitFor();
    } finally {
      await rename('again.py', 'retry.py');
    }
    await expect.poll(() => rows('Explanation of one/again.py').count()).toBe(0);
  });

  it('is searched by any word, can be switched off, and is cleared from the disk', async () => {
    await editor.command('Flan: Search Answers…');
    await editor.quickPick.locator('input.input').fill('raised');
    await expect.poll(() => editor.quickPickRows.count()).toBe(1);
    await editor.picture('history-search');
    await editor.page.keyboard.press('Enter');
    await editor.thread('Answer · lines 4 to 12').action('Copy the Answer').waitFor();

    await editor.command('Flan: Show the History');
    await editor.page.locator('.pane-header', { hasText: 'History' }).hover();
    await editor.page.locator('.pane-header a.action-label[aria-label^="Clear the History"]').click();
    await editor.page.locator('.monaco-dialog-box a.monaco-button', { hasText: 'Clear' }).click();
    await editor.page.getByText('will be listed here').waitFor();

    workbench.changeMachineSettings({ 'flan.history.enabled': false });
    await editor.page.getByText('The history is off').waitFor();
    await editor.picture('history-off');
    await explained('notes.md', 6, 6);
    await editor.command('Flan: Show the History');
    await editor.page.getByText('The history is off').waitFor();

    workbench.changeMachineSettings({ 'flan.history.enabled': true });
    await editor.page.getByText('will be listed here').waitFor();
    await explained('notes.md', 6, 6);
    await editor.command('Flan: Show the History');
    await expect.poll(() => rows(/./).count()).toBe(1);
  });

  it('of several folders is one, and tells them apart', async () => {
    await explained('days.md', 1, 1);
    await editor.closeThreads();
    await editor.command('Flan: Show the History');
    await expect.poll(() => rows('Explanation of one/notes.md').count()).toBe(1);
    await rows('Explanation of two/days.md').click();
    await editor.page.locator('.tab.active', { hasText: 'days.md' }).waitFor();
    await editor.thread('Explanation · line 1').action('Copy the Answer').waitFor();
    await editor.picture('several-folders');
  });
});
