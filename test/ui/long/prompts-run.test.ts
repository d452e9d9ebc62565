// What the prompt-set view runs: the meter, one text, a selection, many inputs, checks, and threads by command. All of it
// equals what the command line says of the same set.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import type { CheckReport, PromptCount, PromptRunResult } from '../../../server/protocol';
import { cliLines, runCli } from '../support/cli';
import { Editor, launchBrowser } from '../support/editor';
import { FILES } from '../support/files';
import { PromptView, textOf } from '../support/prompts';
import { Workbench } from '../support/workbench';

const WAIT = { timeout: 60_000 };

const LOG = [
  'write failed: no space left on device',
  'connection refused by 10.0.0.4',
  'java heap space exhausted',
  'cannot resolve host db.local',
];
/** Enough that a run can be cancelled before its end. */
const ROWS = Array.from({ length: 40 }, (_, index) => `${LOG[index % LOG.length]} (${index})`);
const KINDS = {
  version: 1,
  name: 'Kinds',
  instruction: 'What is this line of a log about?',
  form: 'qa',
  options: ['disk', 'network', 'memory'],
  examples: [
    { input: 'disk quota exceeded', output: 'disk' },
    { input: 'no route to host', output: 'network' },
    { input: 'out of memory', output: 'memory' },
    { input: 'read error on /dev/sda', output: 'disk' },
  ],
};
const FREE = {
  version: 1,
  name: 'Free',
  instruction: 'Go on.',
  form: 'io',
  examples: [{ input: '1', output: '1 2 3' }],
};
const SETS = {
  '.flan/prompts/kinds.json': JSON.stringify(KINDS),
  '.flan/prompts/free.json': JSON.stringify(FREE),
  'log.csv': `host,message\n${ROWS.map((line, index) => `h${index},${line}`).join('\n')}\n`,
};

let workbench: Workbench;
let browser: Browser;
let editor: Editor;
let view: PromptView;

beforeAll(async () => {
  workbench = await Workbench.start({
    files: { ...FILES, ...SETS },
    settings: { 'workbench.colorTheme': 'Dark Modern', 'window.autoDetectColorScheme': false },
  });
  const keys = [{ key: 'ctrl+alt+2', command: 'flan.runPromptSet2' }];
  writeFileSync(join(workbench.userData, 'User', 'keybindings.json'), JSON.stringify(keys));
  browser = await launchBrowser();
  editor = await Editor.open(browser, workbench);
  view = new PromptView(editor, workbench);
  await view.open();
  await view.button(/^Kinds/).click();
  await view.page.locator('.picker-name').getByText('Kinds', { exact: true }).waitFor(WAIT);
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await editor.picture(`failed-panel-${task.name}`);
  workbench.resumeServer();
});

describe('the meter', () => {
  it('counts the prompt exactly, and nothing has been run', async () => {
    await view.field('Text to run on').fill(LOG[1] ?? '');
    const counted = await runCli<PromptCount>(workbench, 'run', 'kinds', '--input', LOG[1] ?? '', '--dry-run');
    await expect.poll(() => view.total(), WAIT).toBe(counted.total);
    const facts = await view.page.locator('.example-facts').allInnerTexts();
    expect(facts).toEqual(counted.examples.map(({ tokens }) => `${tokens} tokens`));
    expect(await textOf(view.page.locator('.legend'))).toContain(`instruction ${counted.instruction}`);
  });

  it('says which examples do not fit; they are left away only when the user says so', async () => {
    const long = 'the disk is full and '.repeat(900);
    await view.addExample(long, 'disk');
    await view.page.getByText('Example 5 does not fit: shorten the prompt or switch examples off.').waitFor(WAIT);
    await expect.poll(() => textOf(view.example(5).locator('.example-facts'))).toContain('does not fit');
    await editor.picture('prompts-too-long');
    await view.page.locator('#run').click();
    await view.page.locator('.answer .message.error').waitFor(WAIT);
    await view.button('Run Without Them').click();
    const expected = await runCli<PromptRunResult>(workbench, 'run', 'kinds', '--input', LOG[1] ?? '');
    expect(await view.answer()).toBe(expected.text);
    await view.page.getByText('The window was too small for examples 5: they were left away.').waitFor();
    await view.page.locator('#revert').click();
    await expect.poll(() => view.examples.count()).toBe(4);
  });
});

describe('one input', () => {
  it('typed is answered with model, device, time and the probabilities of the options', async () => {
    await view.field('Text to run on').fill(LOG[0] ?? '');
    await view.field('Text to run on').press('Control+Enter');
    const expected = await runCli<PromptRunResult>(workbench, 'run', 'kinds', '--input', LOG[0] ?? '');
    await expect.poll(() => view.said(), WAIT).toBe(`Answer: ${expected.text}`);
    expect(await view.answer()).toBe(expected.text);
    expect(await textOf(view.page.locator('.answer-facts'))).toMatch(/^starter · CPU.* · \d+(\.\d)? s/);
    const names = await view.page.locator('.shares .share-name').allInnerTexts();
    expect(names.toSorted()).toEqual(KINDS.options.toSorted());
    expect(names[0]).toBe(expected.text);
    await editor.picture('prompts-answer');
  });

  it('becomes an example with one click', async () => {
    await view.button('Add as an Example').click();
    await expect.poll(() => view.examples.count()).toBe(5);
    expect((await view.texts()).at(4)).toEqual([LOG[0], await view.answer()]);
    await view.page.locator('#revert').click();
    await expect.poll(() => view.examples.count()).toBe(4);
  });

  it('selected in the editor is shown and answered', async () => {
    await editor.page.locator('.activitybar .action-label[aria-label^="Explorer"]').click();
    await editor.openFile('log.csv');
    await editor.selectLines(3, 3);
    await view.open();
    await view.tab('Selection');
    await view.page.getByText('log.csv, line 3').waitFor(WAIT);
    await view.page.locator('#run').click();
    const line = `h1,${ROWS[1]}`;
    const expected = await runCli<PromptRunResult>(workbench, 'run', 'kinds', '--input', line);
    expect(await view.answer()).toBe(expected.text);
    await editor.picture('prompts-selection');
  });

  it('is answered word by word, and stops when told to', async () => {
    await view.page.locator('#picker').click();
    await view.pick('Free');
    await expect.poll(() => view.name()).toBe('Free');
    await view.tab('Text');
    const input = Array.from({ length: 60 }, (_, index) => index + 1).join(' ');
    const whole = await runCli<PromptRunResult>(workbench, 'run', 'free', '--input', input);
    await view.field('Text to run on').fill(input);
    workbench.holdServer();
    await view.page.locator('#run').click();
    await workbench.crawlUntil(() => view.page.locator('.answer .caret').isVisible());
    await editor.picture('prompts-writing');
    await view.page.locator('#run').click();
    // The server is told while it is held.
    await editor.page.waitForTimeout(300);
    workbench.resumeServer();
    const text = await view.answer();
    expect(text.length).toBeGreaterThan(0);
    expect(whole.text.startsWith(text)).toBe(true);
    expect(text.length).toBeLessThan(whole.text.length);
    expect(await textOf(view.page.locator('.answer-facts'))).toContain('stopped');
  });
});

describe('many inputs', () => {
  it('are answered beside themselves, can be cancelled, and go on from there', async () => {
    await view.page.locator('#picker').click();
    await view.pick('Kinds');
    await view.tab('File');
    await view.page.locator('#choose-file').click();
    await view.dialog(join(workbench.workspace, 'log.csv'));
    await view.page.getByText('40 inputs').waitFor(WAIT);
    workbench.holdServer();
    await view.page.locator('#run-many').click();
    const first = view.page.locator('tbody tr:first-child td:nth-child(2) .cell');
    await workbench.crawlUntil(() => first.isVisible(), 30);
    await editor.picture('prompts-many');
    await view.page.locator('#run-many').click();
    await editor.page.waitForTimeout(300);
    workbench.resumeServer();
    await view.button('Resume').waitFor(WAIT);
    const answers = () => view.page.locator('tbody td:nth-child(2)').allInnerTexts();
    expect((await answers()).filter((text) => text !== '').length).toBeLessThan(ROWS.length);
    // What was answered outlives the window.
    await editor.page.reload();
    await editor.statusItem.waitFor(WAIT);
    await view.button('Resume').click({ timeout: 60_000 });
    const expected = await cliLines(workbench, 'run', 'kinds', 'log.csv', '--column', 'message');
    await expect.poll(answers, WAIT).toEqual(expected);
    await view.button('Export…').click();
    const out = join(workbench.workspace, 'log-answers.csv');
    await view.dialog(out);
    await expect.poll(() => existsSync(out), WAIT).toBe(true);
    const lines = readFileSync(out, 'utf8').trim().split('\n');
    expect(lines[0]).toBe('host,message,output,probability,error');
    expect(lines.slice(1).map((line) => line.split(',')[2])).toEqual(expected);
  });
});

describe('a check', () => {
  it('shows beside each example what the others say, and what an edit changed', async () => {
    await view.page.locator('#check').click();
    const report = await runCli<CheckReport>(workbench, 'run', 'kinds', '--check');
    const summary = view.page.locator('.check-summary');
    await summary.getByText(`${report.agreeing} of 4 agree`).waitFor(WAIT);
    const verdicts = await view.page.locator('.verdict').allInnerTexts();
    expect(verdicts.map((text) => text.trim() === 'agrees')).toEqual(report.examples.map(({ agrees }) => agrees));
    const likely = report.examples.map(({ own }) => `yours ${Math.round(100 * Math.exp(own?.perToken ?? 0))}% likely`);
    expect(await view.page.locator('.checked > span[title]').allInnerTexts()).toEqual(likely);
    await editor.picture('prompts-check');
    await view.button('Keep as Baseline').click();
    await summary.getByText(`Baseline: ${report.agreeing} of 4 agree`).waitFor(WAIT);
    expect(existsSync(join(workbench.workspace, '.flan', 'baselines', 'kinds.json'))).toBe(true);
    await view.field('Output of example 2').fill('disk');
    await summary.getByText('edited since').waitFor();
    await view.page.locator('#check').click();
    await view.page.locator('.checked').getByText('new', { exact: true }).waitFor(WAIT);
    await editor.picture('prompts-compared');
    await view.page.locator('#revert').click();
  });
});

describe('Run Prompt Set', () => {
  it('answers in a thread under the selection: from the menu, by a key, from the palette', async () => {
    await editor.command('Flan: Assign the Prompt Set to a Slot…');
    await view.pick('Slot 2');
    await view.page.getByText('Slot 2').waitFor(WAIT);
    await editor.page.locator('.activitybar .action-label[aria-label^="Explorer"]').click();
    await editor.openFile('log.csv');
    await editor.selectLines(2, 2);
    await editor.contextMenu('h0', 'Run Prompt Set…');
    await editor.quickPickRows.filter({ hasText: 'Free' }).waitFor(WAIT);
    await editor.picture('prompts-choose');
    await view.pick('Kinds');
    const thread = editor.thread('Kinds · line 2');
    await thread.settled();
    const expected = await runCli<PromptRunResult>(workbench, 'run', 'kinds', '--input', `h0,${ROWS[0]}`);
    expect(await thread.answer()).toBe(expected.text);
    await editor.picture('prompts-thread');
    await editor.closeThreads();
    await editor.openFile('log.csv');
    await editor.selectLines(3, 3);
    await editor.page.keyboard.press('Control+Alt+2');
    await editor.thread('Kinds · line 3').settled();
    await editor.command('Flan: Run Prompt Set…');
    await view.pick('Free');
    await editor.thread('Free · line 3').settled();
  });
});
