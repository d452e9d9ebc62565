// A prompt set's file in the editor: the published schema says what is wrong with it, and completes it.
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { Editor, launchBrowser } from './support/editor';
import { Workbench } from './support/workbench';

const BROKEN = `{
  "name": "Mood",
  "form": "chat",
  "examples": [
    { "input": "I like it." }
  ]
}
`;

let workbench: Workbench;
let browser: Browser;
let editor: Editor;

beforeAll(async () => {
  workbench = await Workbench.start({ files: { '.flan/prompts/mood.json': BROKEN, 'other.json': BROKEN } });
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

async function open(name: string): Promise<void> {
  await editor.page.keyboard.press('Control+p');
  const input = editor.quickPick.locator('input.input');
  await input.fill(name);
  await editor.quickPickRows.filter({ hasText: name }).first().waitFor();
  await input.press('Enter');
  await editor.page.locator('.tab.active', { hasText: name }).waitFor();
}

it('is checked by the schema as it is written, and other files are not', async () => {
  await open('mood.json');
  await editor.command('Problems: Focus on Problems View');
  const problems = editor.page.locator('.markers-panel .monaco-list-row');
  await problems.filter({ hasText: 'Missing property "output"' }).waitFor({ timeout: 60_000 });
  expect(await problems.filter({ hasText: /Value is not accepted|Incorrect type/ }).count()).toBeGreaterThan(0);
  await editor.picture('prompt-set-file');
  await open('other.json');
  await expect.poll(() => problems.filter({ hasText: 'other.json' }).count()).toBe(0);
});
