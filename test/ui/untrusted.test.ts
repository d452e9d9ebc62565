// A workspace that nobody trusts: answers are given all the same, and nothing that it brings decides what runs here.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Editor, launchBrowser } from './support/editor';
import { FILES } from './support/files';
import { Workbench } from './support/workbench';

const WANTED_BY_WORKSPACE = {
  'flan.model': '/nowhere/model',
  'flan.nodePath': '/nowhere/node',
  'flan.home': '/nowhere',
};

let workbench: Workbench;
let browser: Browser;

beforeAll(async () => {
  workbench = await Workbench.start({
    files: { ...FILES, '.vscode/settings.json': JSON.stringify(WANTED_BY_WORKSPACE) },
    untrusted: true,
  });
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

it('is answered about by the model of the user', async () => {
  const editor = await Editor.open(browser, workbench);
  try {
    await editor.page.locator('.statusbar-item', { hasText: 'Restricted Mode' }).waitFor();
    await editor.openFile('retry.py');
    await editor.selectLines(4, 12);
    await editor.command('Flan: Explain Selection');
    const thread = editor.thread('Explanation · lines 4 to 12');
    await thread.settled();
    await editor.picture('untrusted');
    expect(await thread.smallPrint()).toContain('starter · ');
    // The server that the user's own settings mean.
    expect(workbench.serverPid()).toBeDefined();
  } catch (error) {
    await editor.picture('failed-untrusted');
    throw error;
  }
});
