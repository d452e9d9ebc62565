// The oldest editor that package.json promises to work in.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { cli } from './support/cli';
import { Editor, launchBrowser } from './support/editor';
import { FILES } from './support/files';
import { EDITIONS, MODULES, ROOT, Workbench } from './support/workbench';

it('is the version under test', () => {
  const product = JSON.parse(
    readFileSync(join(MODULES, EDITIONS.floor.server, 'lib', 'vscode', 'package.json'), 'utf8'),
  );
  const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  expect(manifest.engines.vscode).toBe(`^${product.version}`);
});

it('explains, answers a question and stops its server', async () => {
  const workbench = await Workbench.start({ files: FILES, edition: 'floor' });
  const browser = await launchBrowser();
  try {
    const editor = await Editor.open(browser, workbench);
    try {
      await editor.openFile('retry.py');
      await editor.selectLines(4, 12);
      await editor.contextMenu('def retry', 'Explain Selection');
      const thread = editor.thread('Explanation · lines 4 to 12');
      await thread.settled();
      expect(await thread.answer()).toBe((await cli(workbench, 'explain', 'retry.py:4-12')).text);
      const question = 'What is raised?';
      await thread.reply(question);
      await expect.poll(() => thread.comments.count()).toBe(3);
      await thread.settled();
      expect(await thread.answer()).toBe((await cli(workbench, 'ask', question, 'retry.py:4-12')).text);
      await editor.picture('floor');
      await editor.command('Flan: Stop the Server and Free the GPU');
      await expect.poll(() => workbench.serverPid(), { timeout: 20_000 }).toBeUndefined();
    } catch (error) {
      await editor.picture('failed-floor');
      throw error;
    }
  } finally {
    await browser.close();
    await workbench.stop();
  }
});
