// The status bar item, the menu behind it, and what happens when a model or an engine is not to be had.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
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
  expect(await page.locator('table').textContent()).toMatch(/cpu/i);
  await editor.picture('doctor');
});

it('lists the installed models and writes the choice into the settings', async () => {
  await choose('Choose the Model…');
  await editor.quickPickRows.filter({ hasText: 'demonstration model' }).waitFor();
  await editor.picture('models');
  await editor.quickPickRows.filter({ hasText: 'demonstration model' }).click();
  await expect
    .poll(() => JSON.parse(readFileSync(join(workbench.userData, 'Machine', 'settings.json'), 'utf8'))['flan.model'])
    .toBe('starter');
});

it('an engine that this machine lacks is refused with a way out, in the thread as well', async () => {
  await choose('Choose the Engine…');
  await editor.picture('engines');
  await editor.quickPickRows.filter({ hasText: 'NVIDIA' }).click();
  await editor.toast('Flan:').waitFor();
  await editor.openFile('retry.py');
  await editor.selectLines(4, 12);
  await editor.command('Flan: Explain Selection');
  const thread = editor.thread('Explanation');
  await thread.settled();
  expect(await thread.answer()).toMatch(/^No answer\./);
  await editor.picture('no-engine');
  await thread.root
    .getByRole('link', { name: 'Choose the Engine…' })
    .or(thread.root.getByText('Choose the Engine…'))
    .first()
    .click();
  await editor.quickPickRows.filter({ hasText: 'Works everywhere' }).click();
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
