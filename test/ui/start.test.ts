// The first minutes, and the models as other extensions see them.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createVSIX } from '@vscode/vsce';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { cli } from './support/cli';
import { Editor, launchBrowser } from './support/editor';
import { FILES } from './support/files';
import { Workbench } from './support/workbench';

let scratch: string;
let workbench: Workbench;
let browser: Browser;
let editor: Editor;

beforeAll(async () => {
  scratch = mkdtempSync(join(tmpdir(), 'flan-client-'));
  const client = join(scratch, 'client.vsix');
  await createVSIX({
    cwd: join(__dirname, 'client'),
    packagePath: client,
    allowMissingRepository: true,
    skipLicense: true,
  });
  workbench = await Workbench.start({ files: FILES, extensions: [client] });
  browser = await launchBrowser();
  editor = await Editor.open(browser, workbench);
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
  rmSync(scratch, { recursive: true, force: true });
});

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await editor.picture(`failed-${task.name}`);
});

describe('the models that other extensions get', () => {
  it('are named honestly, count as the model counts, and answer as the command line does', async () => {
    expect(workbench.serverPid()).toBeUndefined();
    await editor.command('Tests: Ask the Models');
    const file = join(workbench.workspace, 'models.json');
    await expect.poll(() => existsSync(file), { timeout: 80_000 }).toBe(true);
    const got = JSON.parse(readFileSync(file, 'utf8'));
    expect(got.error).toBeUndefined();

    expect(got.before.map(({ id }: { id: string }) => id)).toEqual(['automatic']);
    expect(got.all.map(({ id }: { id: string }) => id)).toEqual(['automatic', 'starter']);
    expect(got.all[1].maxInputTokens).toBe(2048);
    for (const { capabilities } of got.all) {
      expect(capabilities).toMatchObject({ supportsToolCalling: false, supportsImageToText: false });
    }

    const prompt = 'Summarize: Every snapshot is compressed before it is uploaded.';
    const expected = await cli(workbench, 'generate', '--prompt', prompt);
    expect(got.answer).toBe(expected.text);
    // Without the end token.
    expect(got.tokens).toBe(expected.promptIds.length - 1);
    expect(got.none).toBe(0);
    const conversation = 'User: What is 1?\n\nAssistant: A number.\n\nUser: And 2?\n\nAssistant:';
    expect(got.conversation).toBe((await cli(workbench, 'generate', '--prompt', conversation)).text);
    expect(got.long.error).toMatch(/has \d+ tokens and the model reads \d+/);
    expect(typeof got.stopped === 'string' || /[Cc]ancel/.test(got.stopped.error)).toBe(true);
  });
});

it('the walkthrough shows a picture for each step, and its sample is explained', async () => {
  // The editor leaves the pictures away where the page is narrow.
  await editor.command('View: Close Primary Side Bar');
  await editor.command('Flan: Get Started');
  const page = editor.page.locator('.gettingStartedContainer');
  const steps = page.locator('.getting-started-step');
  await expect.poll(() => steps.count()).toBe(4);
  for (const [index, name] of ['try', 'machine', 'install', 'prompts'].entries()) {
    await steps.nth(index).click();
    await expect.poll(() => steps.nth(index).getAttribute('class')).toContain('expanded');
    const media = editor.page
      .locator('iframe.webview.ready:visible')
      .last()
      .contentFrame()
      .frameLocator('#active-frame');
    const svg = readFileSync(join(workbench.installed(), 'media', 'walkthrough', `${name}.svg`), 'utf8');
    const [, title = ''] = /<title>(.*)<\/title>/.exec(svg) ?? [];
    await media.locator('svg > title', { hasText: title }).waitFor({ state: 'attached', timeout: 60_000 });
    await editor.picture(`walkthrough-${name}`);
  }
  await steps.nth(0).click();
  await steps.nth(0).getByText('Explain a Sample').click();
  const thread = editor.thread('Explanation · lines 4 to 12');
  await thread.settled();
  expect((await thread.answer()).length).toBeGreaterThan(10);
  await editor.picture('sample-explained');
});

it('the README in the package has no pictures and links that the page of an extension cannot show', () => {
  const readme = readFileSync(join(workbench.installed(), 'readme.md'), 'utf8');
  expect(readme).toContain('# Flan');
  expect(readme.match(/!\[|\]\((?!https:)/g)).toBeNull();
});
