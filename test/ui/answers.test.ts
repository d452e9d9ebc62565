// Answers in the packaged extension, in a real workbench, by the built-in model: what a person sees and can do.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cli } from './support/cli';
import { Editor, launchBrowser } from './support/editor';
import { FILES } from './support/files';
import { isAlive, Workbench } from './support/workbench';

let workbench: Workbench;
let browser: Browser;
let editor: Editor;

beforeAll(async () => {
  workbench = await Workbench.start({ files: FILES });
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
  workbench.resumeServer();
  if (task.result?.state === 'fail') await editor.picture(`failed-${task.name}`);
});

describe('a selection', () => {
  it('starts nothing before the first question', () => {
    expect(workbench.serverPid()).toBeUndefined();
  });

  it('is explained in a thread under it, with the words of the command line', async () => {
    await editor.openFile('retry.py');
    await editor.selectLines(4, 12);
    await editor.contextMenu('def retry', 'Explain Selection', 'context-menu');
    const thread = editor.thread('Explanation · lines 4 to 12');
    await thread.settled();
    const expected = await cli(workbench, 'explain', 'retry.py:4-12');
    expect(await thread.answer()).toBe(expected.text);
    expect(await thread.author()).toBe(expected.model);
    expect(await thread.label()).toBe('demonstration model');
    expect(await thread.smallPrint()).toContain(`${expected.model} · ${expected.device} · `);
    await editor.picture('explained');
  });

  it('answers questions from the reply box about the same text', async () => {
    await editor.openFile('notes.md');
    await editor.selectLines(1, 4);
    await editor.command('Flan: Summarize Selection');
    const thread = editor.thread('Summary · lines 1 to 4');
    await thread.settled();
    expect(await thread.answer()).toBe((await cli(workbench, 'summarize', 'notes.md:1-4')).text);

    const question = 'How many days are snapshots kept?';
    await thread.reply(question);
    await expect.poll(() => thread.comments.count()).toBe(3);
    await thread.settled();
    expect(await thread.answer(1)).toBe(question);
    expect(await thread.answer(2)).toBe((await cli(workbench, 'ask', question, 'notes.md:1-4')).text);
    await editor.picture('follow-up');
  });

  it('is asked about through an input box', async () => {
    await editor.openFile('notes.md');
    await editor.selectLines(1, 4);
    await editor.contextMenu('compressed', 'Ask About Selection…');
    const question = 'What is the configuration file called?';
    await editor.quickPick.locator('input.input').fill(question);
    await editor.picture('question');
    await editor.page.keyboard.press('Enter');
    const thread = editor.thread('Answer · lines 1 to 4');
    await thread.settled();
    expect(await thread.answer(0)).toBe(question);
    expect(await thread.answer(1)).toBe((await cli(workbench, 'ask', question, 'notes.md:1-4')).text);
  });

  it('of characters that the model cannot read says so', async () => {
    await editor.openFile('notes.md');
    await editor.selectLines(6, 6);
    await editor.command('Flan: Explain Selection');
    const thread = editor.thread('Explanation · line 6');
    await thread.settled();
    const { substitutions } = await cli(workbench, 'explain', 'notes.md:6-6');
    expect(substitutions).toContainEqual({ char: '→', as: '->', count: 1 });
    expect(await thread.smallPrint()).toContain('The model read other characters for some: → as ->.');
    expect(await thread.smallPrint()).toContain('The model could not read these characters: 文, 件.');
    await editor.picture('substitutions');
  });
});

describe('without a selection', () => {
  it('the paragraph around the cursor is read, and seen selected', async () => {
    await editor.openFile('notes.md');
    await editor.goToLine(6);
    await editor.command('Flan: Summarize Selection');
    const thread = editor.thread('Summary · line 6');
    await thread.settled();
    expect(await thread.answer()).toBe((await cli(workbench, 'summarize', 'notes.md:6-6')).text);
    await editor.picture('nothing-selected');
  });

  it('the user is asked when there is nothing around the cursor', async () => {
    await editor.openFile('retry.py');
    await editor.goToLine(2);
    await editor.command('Flan: Explain Selection');
    await editor.quickPick.getByText('Nothing is selected').waitFor();
    await editor.picture('nothing-around');
    await editor.quickPickRows.filter({ hasText: 'The whole file' }).click();
    const thread = editor.thread('Explanation · lines 1 to 16');
    await thread.settled();
    expect(await thread.answer()).toBe((await cli(workbench, 'explain', 'retry.py')).text);
  });

  it('an empty file is named as such', async () => {
    await editor.openFile('empty.txt');
    await editor.command('Flan: Explain Selection');
    await editor.toast('This file is empty').waitFor();
    expect(await editor.threads.root.count()).toBe(0);
  });
});

describe('an answer', () => {
  it('can be copied, tried again, and removed', async () => {
    await editor.openFile('retry.py');
    await editor.selectLines(4, 12);
    await editor.command('Flan: Explain Selection');
    const thread = editor.thread('Explanation');
    await thread.settled();
    const answer = await thread.answer();
    await thread.action('Copy the Answer').click();
    await expect.poll(() => editor.page.evaluate('navigator.clipboard.readText()')).toBe(answer);
    await thread.action('Retry').click();
    await thread.settled();
    expect(await thread.comments.count()).toBe(1);
    expect(await thread.answer()).toBe(answer);
    await thread.titleAction('Remove This Thread').click();
    await expect.poll(() => editor.threads.root.count()).toBe(0);
  });

  it('is tried again by a press in the moment it is complete', async () => {
    await editor.openFile('retry.py');
    await editor.selectLines(4, 12);
    const before = workbench.answersKept();
    // The first buttons that appear are pressed, quicker than any hand.
    await editor.page.evaluate(`new MutationObserver((_, observer) => {
      const [button] = document.querySelectorAll('.review-comment .comment-actions a.action-label[aria-label^="Retry"]');
      if (button === undefined || button === window.pressed) return;
      window.pressed = button;
      window.presses = (window.presses ?? 0) + 1;
      if (window.presses === 3) observer.disconnect();
      button.click();
    }).observe(document.body, { childList: true, subtree: true })`);
    await editor.command('Flan: Explain Selection');
    await expect.poll(() => workbench.answersKept()).toBe(before + 4);
    expect(await editor.thread('Explanation').comments.count()).toBe(1);
  });

  it('stops when told to, and keeps what was written', async () => {
    const whole = (await cli(workbench, 'explain', 'numbers.txt:1-200')).text;
    await editor.openFile('numbers.txt');
    await editor.selectLines(1, 200);
    workbench.holdServer();
    await editor.command('Flan: Explain Selection');
    const thread = editor.thread('Explanation · lines 1 to 200');
    await workbench.crawlUntil(() => thread.isWriting());
    // Held while the hand moves to the button: how far the answer gets must not depend on this machine.
    await editor.page.waitForTimeout(300);
    const before = (await thread.answer()).replace(/\s*▍$/, '');
    await editor.picture('writing');
    await thread.titleAction('Stop').click();
    await editor.page.waitForTimeout(300);
    workbench.resumeServer();
    await thread.settled();
    const after = await thread.answer();
    expect(before.length).toBeGreaterThan(0);
    expect(whole.startsWith(after)).toBe(true);
    expect(after.startsWith(before)).toBe(true);
    // A token or two were on their way.
    expect(after.length - before.length).toBeLessThanOrEqual(12);
    expect(after.length).toBeLessThan(whole.length);
    expect(await thread.smallPrint()).toContain('stopped');
    expect(await thread.titleAction('Stop').count()).toBe(0);
    await editor.picture('stopped');
  });

  it('of a server that was killed says so, and Retry starts a new one', async () => {
    const expected = await cli(workbench, 'explain', 'numbers.txt:1-200');
    await editor.openFile('numbers.txt');
    await editor.selectLines(1, 200);
    workbench.holdServer();
    await editor.command('Flan: Explain Selection');
    const thread = editor.thread('Explanation · lines 1 to 200');
    await workbench.crawlUntil(() => thread.isWriting());
    const pid = workbench.serverPid() ?? 0;
    process.kill(pid, 'SIGKILL');
    await thread.root.getByText('The Flan server stopped before the answer was complete.').waitFor();
    await editor.picture('server-killed');
    await thread.action('Retry').click();
    await thread.action('Copy the Answer').waitFor();
    expect(await thread.answer()).toBe(expected.text);
    expect(workbench.serverPid()).not.toBe(pid);
  });

  it('is given by one server to all windows', async () => {
    await editor.openFile('notes.md');
    await editor.selectLines(1, 4);
    await editor.command('Flan: Summarize Selection');
    await editor.thread('Summary').settled();
    const pid = workbench.serverPid();
    const second = await Editor.open(browser, workbench);
    try {
      await second.openFile('retry.py');
      await second.selectLines(4, 12);
      await second.command('Flan: Explain Selection');
      const thread = second.thread('Explanation');
      await thread.settled();
      expect(await thread.answer()).toBe((await cli(workbench, 'explain', 'retry.py:4-12')).text);
      expect(workbench.serverPid()).toBe(pid);
      expect(pid !== undefined && isAlive(pid)).toBe(true);
    } finally {
      await second.close();
    }
  });
});

it('nothing of the texts is in the server log', () => {
  const log = readFileSync(join(workbench.flanHome, 'logs', 'server.log'), 'utf8');
  expect(log).toContain('listening');
  expect(log).not.toMatch(/snapshot|keeper|attempt/i);
});
