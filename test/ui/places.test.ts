// Every place that an answer can start from beside the editor's own menu, each as a person would use it.
import { execFileSync } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { cli } from './support/cli';
import { Editor, launchBrowser } from './support/editor';
import { FILES } from './support/files';
import { Workbench } from './support/workbench';

const notebook = {
  cells: [
    {
      cell_type: 'code',
      execution_count: null,
      metadata: {},
      outputs: [],
      source: ['def double(x):\n', '    return x + x'],
    },
    { cell_type: 'markdown', metadata: {}, source: ['A notebook with two cells.'] },
  ],
  metadata: { language_info: { name: 'python' } },
  nbformat: 4,
  nbformat_minor: 5,
};

let workbench: Workbench;
let browser: Browser;
let editor: Editor;

beforeAll(async () => {
  workbench = await Workbench.start({
    files: { ...FILES, 'cells.ipynb': JSON.stringify(notebook), 'broken.json': '{\n  "port": 80,\n  "host" "a"\n}\n' },
    settings: { 'git.enabled': true, 'git.openRepositoryInParentFolders': 'never' },
    prepare: (workspace) => {
      const git = (...args: string[]): void => {
        execFileSync('git', ['-c', 'user.name=t', '-c', 'user.email=t@example.org', ...args], { cwd: workspace });
      };
      git('init', '--quiet');
      git('add', '.');
      git('commit', '--quiet', '-m', 'Start');
    },
  });
  browser = await launchBrowser();
  editor = await Editor.open(browser, workbench);
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

beforeEach(async () => {
  await editor.closeThreads();
  await editor.command('View: Show Explorer');
});

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await editor.picture(`failed-${task.name}`);
});

describe('the lightbulb', () => {
  const entry = (title: string) => editor.page.locator('.action-widget .monaco-list-row', { hasText: title });

  it('explains what is selected', async () => {
    await editor.openFile('retry.py');
    await editor.selectLines(4, 12);
    await editor.page.keyboard.press('Control+.');
    await entry('Explain (Flan)').waitFor();
    await editor.picture('lightbulb-selection');
    await entry('Explain (Flan)').click();
    const thread = editor.thread('Explanation · lines 4 to 12');
    await thread.settled();
    expect(await thread.answer()).toBe((await cli(workbench, 'explain', 'retry.py:4-12')).text);
  });

  it('explains a problem with its message in the question', async () => {
    await editor.openFile('broken.json');
    await editor.page.locator('.squiggly-error').first().waitFor();
    await editor.goToLine(3);
    for (let i = 0; i < 9; i++) await editor.page.keyboard.press('ArrowRight');
    await editor.page.keyboard.press('Control+.');
    await entry('Explain This Problem (Flan)').waitFor();
    await editor.picture('lightbulb-problem');
    await entry('Explain This Problem (Flan)').click();
    const thread = editor.thread('Explain this problem: Colon expected');
    await thread.settled();
    expect(await thread.author(0)).toBe('You');
    await editor.picture('problem-explained');
  });
});

it('the explorer summarizes a file, and the answer stands on top of it', async () => {
  await editor.page
    .locator('.explorer-folders-view .monaco-list-row', { hasText: 'notes.md' })
    .click({ button: 'right' });
  await editor.choose('Summarize File', 'explorer-menu');
  const thread = editor.thread('Summary · the whole file');
  await thread.settled();
  expect(await thread.answer()).toBe((await cli(workbench, 'summarize', 'notes.md')).text);
  await editor.picture('file-summarized');
});

describe('source control', () => {
  it('summarizes the changes as the model reads them, and drafts a commit message', async () => {
    appendFileSync(join(workbench.workspace, 'retry.py'), '\n\ndef triple(x):\n    return x * 3\n');
    await editor.command('Source Control: Focus on Changes View');
    await editor.page.locator('.scm-view .monaco-list-row', { hasText: 'retry.py' }).waitFor({ timeout: 60_000 });
    await editor.command('Flan: Summarize Changes');
    const thread = editor.thread('Summary · the whole file');
    await thread.settled();
    const text = await editor.text();
    expect(text).toContain('File: retry.py');
    expect(text).toContain('+def triple(x):');
    expect(text).not.toContain('diff --git');
    await editor.picture('changes-summarized');

    await editor.page.locator('.pane-header', { hasText: 'Changes' }).first().hover();
    await editor.page.locator('.pane-header a.action-label[aria-label*="Draft a Commit Message"]').first().click();
    const input = editor.page.locator('.scm-view .scm-input .view-lines').first();
    await expect
      .poll(async () => ((await input.textContent()) ?? '').trim().length, { timeout: 60_000 })
      .toBeGreaterThan(3);
    await editor.picture('commit-message');
  });
});

it('a cell of a notebook is explained beside it', async () => {
  await editor.page.locator('.explorer-folders-view .monaco-list-row', { hasText: 'cells.ipynb' }).dblclick();
  const cell = editor.page.locator('.notebookOverlay .code-cell-row').first();
  await cell.waitFor();
  await cell.click();
  await cell.hover();
  await editor.page.locator('.notebookOverlay .cell-title-toolbar a.action-label.codicon-toolbar-more').first().click();
  await editor.choose('Explain Cell', 'notebook-menu');
  const thread = editor.thread('Explanation · lines 1 to 2');
  await thread.settled();
  await editor.picture('notebook');
});

it('what is selected in the terminal is explained, and the clipboard is left as it was', async () => {
  await editor.page.evaluate('navigator.clipboard.writeText("mine")');
  await editor.command('Terminal: Create New Terminal');
  const terminal = editor.page.locator('.terminal-wrapper.active .xterm');
  await terminal.waitFor();
  await editor.page.waitForTimeout(500);
  await editor.page.keyboard.type('echo "Error: disk is full"\n');
  await editor.command('Terminal: Select All');
  await editor.command('Flan: Explain Terminal Selection');
  const thread = editor.thread('Explanation');
  await thread.settled();
  expect(await editor.text()).toContain('Error: disk is full');
  expect(await editor.page.evaluate('navigator.clipboard.readText()')).toBe('mine');
  await editor.picture('terminal');
  await editor.command('Terminal: Kill All Terminals');
});

it('what is selected in an output is explained', async () => {
  await editor.command('Flan: Show the Log');
  const output = editor.page.locator('.panel .output-view-container, .panel .monaco-editor').first();
  await output.waitFor();
  await expect.poll(() => editor.page.locator('.panel .view-lines').textContent()).toMatch(/Connected/);
  await editor.page.locator('.panel .view-line').first().click();
  await editor.page.keyboard.press('Control+a');
  await editor.page
    .locator('.panel .view-line')
    .first()
    .click({ button: 'right', position: { x: 60, y: 8 } });
  await editor.picture('output-menu');
  await editor.page.keyboard.press('Escape');
  await editor.command('Flan: Summarize Selection');
  const thread = editor.thread('Summary');
  await thread.settled();
  expect(await editor.text()).toContain('Connected');
  await editor.picture('output');
  await editor.command('View: Hide Panel');
});

it('several selections get an answer each', async () => {
  await editor.openFile('notes.md');
  await editor.goToLine(1);
  await editor.command('Add Cursor Below');
  await editor.page.keyboard.press('Shift+End');
  await editor.command('Flan: Summarize Selection');
  for (const line of [1, 2]) {
    const thread = editor.thread(`Summary · line ${line}`);
    await thread.settled();
    expect(await thread.answer()).toBe((await cli(workbench, 'summarize', `notes.md:${line}-${line}`)).text);
  }
});

it('a diff editor shows answers, too', async () => {
  await editor.command('Source Control: Focus on Changes View');
  await editor.page.locator('.scm-view .monaco-list-row', { hasText: 'retry.py' }).click();
  const modified = editor.page.locator('.monaco-diff-editor .modified .view-line', { hasText: 'def triple' });
  await modified.waitFor();
  await modified.click();
  await editor.page.keyboard.press('End');
  await editor.page.keyboard.press('Shift+Home');
  await editor.command('Flan: Explain Selection');
  await editor.thread('Explanation · line').settled();
  await editor.picture('diff');
});
