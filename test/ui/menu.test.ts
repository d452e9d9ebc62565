// The status bar item, the menu behind it, and what happens when a model or an engine is not to be had.
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
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

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await editor.picture(`failed-${task.name}`);
});

async function choose(entry: string): Promise<void> {
  await editor.statusItem.click();
  await editor.quickPickRows.filter({ hasText: entry }).click();
}

it('before the first use the item says that nothing runs', async () => {
  await editor.statusItem.click();
  await expect.poll(() => editor.quickPick.locator('input.input').getAttribute('placeholder')).toContain('Not running');
  await editor.picture('menu');
  await editor.page.keyboard.press('Escape');
  expect(workbench.serverPid()).toBeUndefined();
});

it('loads the model ahead of the first question and then names model and device', async () => {
  await choose('Load the Model Now');
  await expect.poll(() => editor.statusItem.textContent(), { timeout: 60_000 }).toMatch(/starter · CPU/);
  expect(workbench.serverPid()).toBeDefined();
});

it('shows what this machine can run as a page', async () => {
  await choose('What This Machine Can Run');
  await editor.page.locator('.tab', { hasText: 'What This Machine Can Run' }).waitFor();
  const page = editor.page.frameLocator('iframe.webview.ready').frameLocator('#active-frame');
  await page.locator('table tr').nth(1).waitFor();
  expect(await page.locator('h1').textContent()).toBe('What This Machine Can Run');
  expect(await page.locator('table').first().textContent()).toMatch(/cpu/i);
  expect(await page.locator('table').nth(1).textContent()).toMatch(/google\/flan-t5-large.*recommended/);
  await editor.picture('doctor');
});

it('writes the choice of an engine into the settings of the machine', async () => {
  await choose('Choose the Engine…');
  await editor.quickPickRows.filter({ hasText: 'Works everywhere' }).waitFor();
  await editor.picture('engines');
  await editor.quickPickRows.filter({ hasText: 'Works everywhere' }).click();
  await expect.poll(() => workbench.machineSettings()['flan.engine']).toBe('cpu');
});

it('lists the installed models; a folder without a model is refused with a way out', async () => {
  workbench.changeMachineSettings({ 'flan.model': workbench.workspace });
  await editor.openFile('retry.py');
  await editor.selectLines(4, 12);
  await editor.command('Flan: Explain Selection');
  const thread = editor.thread('Explanation');
  await thread.settled();
  expect(await thread.answer()).toMatch(/^No answer\./);
  expect(await thread.answer()).toContain(workbench.workspace);
  await editor.picture('no-model');
  await thread.comments.last().locator('a', { hasText: 'Choose the Model…' }).click();
  const starter = editor.quickPickRows.filter({ hasText: 'demonstration model' });
  await starter.waitFor();
  await editor.picture('models');
  await starter.click();
  await expect.poll(() => workbench.machineSettings()['flan.model']).toBe('starter');
  await thread.action('Retry').click();
  await thread.action('Copy the Answer').waitFor();
  expect(await thread.author()).toBe('starter');
});

it('stops the server, and says that its memory is free', async () => {
  const pid = workbench.serverPid() ?? 0;
  await choose('Stop the Server and Free the GPU');
  await editor.page.locator('.statusbar-item', { hasText: 'its memory is free' }).waitFor();
  expect(isAlive(pid)).toBe(false);
  await expect.poll(() => editor.statusItem.textContent()).toContain('Flan');
});

it('shows the log', async () => {
  await choose('Show the Log');
  await editor.page.locator('.panel .output-view-container, .panel .view-lines').first().waitFor();
  await expect
    .poll(() => editor.page.locator('.panel .view-lines').textContent())
    .toMatch(/Connected\sto\sserver\sprocess/);
});
