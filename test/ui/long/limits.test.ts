// What is unusual about a workspace or a text: nobody trusts it, or it is far larger than any model reads.
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { Editor, launchBrowser } from '../support/editor';
import { FILES } from '../support/files';
import { Workbench } from '../support/workbench';

const WANTED_BY_WORKSPACE = {
  'flan.model': '/nowhere/model',
  'flan.nodePath': '/nowhere/node',
  'flan.home': '/nowhere',
};
/** Lines of a file of two million characters, which is more than the server takes. */
const HUGE = 45_000;

let workbench: Workbench;
let browser: Browser;
let editor: Editor;

beforeAll(async () => {
  workbench = await Workbench.start({
    files: {
      ...FILES,
      'huge.txt': 'Every snapshot is compressed before it is uploaded.\n'.repeat(HUGE),
      '.vscode/settings.json': JSON.stringify(WANTED_BY_WORKSPACE),
    },
    untrusted: true,
  });
  browser = await launchBrowser();
  editor = await Editor.open(browser, workbench);
});

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await editor.picture(`failed-${task.name}`);
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

it('a workspace that nobody trusts is answered about, by the server and the model of the user', async () => {
  await editor.page.locator('.statusbar-item', { hasText: 'Restricted Mode' }).waitFor();
  await editor.openFile('retry.py');
  await editor.selectLines(4, 12);
  await editor.command('Flan: Explain Selection');
  const thread = editor.thread('Explanation · lines 4 to 12');
  await thread.settled();
  await editor.picture('untrusted');
  expect(await thread.smallPrint()).toContain('starter · ');
  expect(workbench.serverPid()).toBeDefined();
});

it('a huge text is read at its beginning, and the answer says so', async () => {
  await editor.openFile('huge.txt');
  await editor.goToLine(1);
  await editor.page.keyboard.press('Control+a');
  await editor.command('Flan: Summarize Selection');
  const thread = editor.thread(`Summary · lines 1 to ${HUGE}`);
  await thread.settled();
  await editor.picture('huge');
  expect(await thread.smallPrint()).toMatch(/Only lines 1 to \d+ of 45000 were read/);
});
