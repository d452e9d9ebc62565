// The prompt-set view, as a person uses it to make and keep prompt sets; what is on the screen and in the files.
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Editor, launchBrowser } from './support/editor';
import { FILES } from './support/files';
import { PromptView, textOf } from './support/prompts';
import { Workbench } from './support/workbench';

const TABLE = { 'pairs.csv': 'id,text,label\n1,"disk, full",disk\n2,no route to host,network\n' };
const GALLERY = [
  'Classify a log line',
  'Name a function',
  'Commit message from a diff',
  'Extract fields',
  'Translate an error',
  'Sentiment',
  'Name a unit test',
];
const WAIT = { timeout: 60_000 };

let workbench: Workbench;
let browser: Browser;
let editor: Editor;
let view: PromptView;

beforeAll(async () => {
  workbench = await Workbench.start({ files: { ...FILES, ...TABLE } });
  browser = await launchBrowser();
  editor = await Editor.open(browser, workbench);
  view = new PromptView(editor, workbench);
  await view.open();
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

afterEach(async ({ task }) => {
  if (task.result?.state === 'fail') await editor.picture(`failed-panel-${task.name}`);
});

describe('a prompt set', () => {
  it('begins with a page that says what it is for', async () => {
    await view.page.getByText('A prompt set shows the model what you want').waitFor(WAIT);
    expect(workbench.serverPid()).toBeUndefined();
    expect(await view.violations()).toEqual([]);
    await editor.picture('prompts-welcome');
  });

  it('is made by hand and saved as a file that can be read', async () => {
    await view.button('New Prompt Set…').click();
    await editor.quickPickRows.filter({ hasText: 'Empty' }).waitFor(WAIT);
    const offered = (await editor.quickPickRows.locator('.label-name').allInnerTexts()).map((text) => text.trim());
    expect(offered).toEqual(expect.arrayContaining([...GALLERY]));
    await editor.picture('prompts-gallery');
    await view.pick('Empty');
    await view.answerBox('Kinds of log lines');
    await view.pick('Workspace');
    await view.page.getByText('No examples yet').waitFor(WAIT);
    await editor.picture('prompts-empty');
    expect(await view.violations()).toEqual([]);
    await view.field('Instruction').fill('What is this line about?');
    await view.addExample('write failed: no space left on device', 'disk');
    await view.addExample('connection refused', 'network');
    await expect.poll(() => textOf(view.page.locator('.saved'))).toBe('Unsaved');
    expect(view.read('kinds-of-log-lines.json').examples).toEqual([]);
    await view.save();
    expect(view.read('kinds-of-log-lines.json')).toMatchObject({
      version: 1,
      name: 'Kinds of log lines',
      instruction: 'What is this line about?',
      form: 'qa',
      examples: [
        { input: 'write failed: no space left on device', output: 'disk' },
        { input: 'connection refused', output: 'network' },
      ],
    });
  });

  it('takes inputs, outputs and whole examples from the selection of the editor', async () => {
    await editor.page.locator('.activitybar .action-label[aria-label^="Explorer"]').click();
    await editor.openFile('notes.md');
    await editor.selectLines(4, 4);
    await editor.contextMenu('kept. The default', 'Use Selection as Input', 'prompts-menu');
    await expect.poll(async () => (await view.inputs).at(2), WAIT).toContain('The default is 30 days.');
    await view.field('Output of example 3').fill('30');
    // The field's own button reads what is still selected.
    await view.example(3).locator('textarea[data-part="output"]').hover();
    await view.example(3).getByRole('button', { name: 'Use the Selection as Output' }).click();
    await expect.poll(async () => (await view.texts()).at(2)?.[1]).toContain('The default is 30 days.');
    await view.button('Delete Example 3').click();
    expect(await view.examples.count()).toBe(2);
  });

  it('takes a table from the clipboard', async () => {
    await editor.page.evaluate(
      "navigator.clipboard.writeText('timeout after 30 s\\tnetwork\\nheap space\\tmemory\\n')",
    );
    await view.button('Paste a Table').click();
    await expect.poll(() => view.examples.count(), WAIT).toBe(4);
    await view.page.getByText('2 examples added.').first().waitFor(WAIT);
    await view.button('Undo').click();
    await expect.poll(() => view.examples.count(), WAIT).toBe(2);
    await view.button('Paste a Table').click();
    await expect.poll(() => view.examples.count(), WAIT).toBe(4);
    expect((await view.texts()).slice(2)).toEqual([
      ['timeout after 30 s', 'network'],
      ['heap space', 'memory'],
    ]);
  });

  it('takes a table from a file, and asks which columns are meant', async () => {
    await view.button('Import From a File…').click();
    await view.dialog(join(workbench.workspace, 'pairs.csv'));
    await editor.quickPick.getByText('Which column has the inputs?').waitFor(WAIT);
    await editor.page.keyboard.press('Enter');
    await editor.quickPick.getByText('Which column has the outputs?').waitFor(WAIT);
    await editor.page.keyboard.press('Enter');
    await expect.poll(() => view.examples.count(), WAIT).toBe(6);
    expect((await view.texts()).slice(4)).toEqual([
      ['disk, full', 'disk'],
      ['no route to host', 'network'],
    ]);
  });
});

describe('examples', () => {
  it('are moved with the keyboard, and the focus moves along', async () => {
    const before = await view.inputs;
    await view.field('Input of example 1').focus();
    await editor.page.keyboard.press('Alt+ArrowDown');
    await expect.poll(() => view.said()).toBe('Example moved to place 2 of 6.');
    expect((await view.inputs).slice(0, 2)).toEqual([before[1], before[0]]);
    await expect.poll(() => view.field('Input of example 2').evaluate((e) => e.matches(':focus'))).toBe(true);
    await view.example(2).locator('[data-part="grip"]').focus();
    await editor.page.keyboard.press('Control+z');
    await expect.poll(() => view.inputs).toEqual(before);
    await expect.poll(() => view.said()).toBe('Undone.');
  });

  it('are moved by dragging', async () => {
    const before = await view.inputs;
    const from = await view.example(1).locator('.grip').boundingBox();
    const to = await view.example(2).boundingBox();
    if (from === null || to === null) throw new Error('nothing to drag');
    const { mouse } = editor.page;
    await mouse.move(from.x + 5, from.y + 8);
    await mouse.down();
    await mouse.move(from.x + 5, from.y + 40, { steps: 4 });
    await mouse.move(from.x + 5, to.y + to.height - 4, { steps: 4 });
    await editor.picture('prompts-dragging');
    await mouse.up();
    await expect.poll(() => view.inputs).toEqual([before[1], before[0], ...before.slice(2)]);
  });

  it('are switched off, duplicated, deleted and brought back', async () => {
    await view.button('Switch Off Example 2').click();
    await view.button('Duplicate Example 1').click();
    await expect.poll(() => view.examples.count()).toBe(7);
    const before = await view.inputs;
    expect(before[0]).toBe(before[1]);
    await view.button('Delete Example 2').click();
    await expect.poll(() => view.examples.count()).toBe(6);
    await view.page.getByText('Example 2 was deleted.').first().waitFor();
    await view.button('Undo').click();
    await expect.poll(() => view.inputs).toEqual(before);
    await view.button('Delete Example 2').click();
    await editor.page.keyboard.press('Control+z');
    await expect.poll(() => view.inputs).toEqual(before);
    await view.save();
    const { examples } = view.read('kinds-of-log-lines.json');
    expect(examples.map(({ off }) => off === true)).toEqual([false, false, true, false, false, false, false]);
  });

  it('have the labels and the answers that the settings say', async () => {
    await view.button(/^Answer Options/).click();
    await view.field('Answer options, one a line').fill('disk\nnetwork\nmemory\n');
    await view.button(/^Settings/).click();
    await view.page.getByRole('combobox', { name: 'Form' }).click();
    await view.page.getByRole('option', { name: 'Own labels' }).click();
    await view.field('Label of inputs').fill('Line');
    await view.field('Label of outputs').fill('Topic');
    await expect.poll(() => view.example(1).locator('.label').allInnerTexts()).toEqual(['Line', 'Topic']);
    await editor.picture('prompts-settings');
    await view.button(/^Settings/).click();
    await view.button(/^Answer Options/).click();
    await view.save();
    const { form, options } = view.read('kinds-of-log-lines.json');
    expect(form).toEqual({ input: 'Line', output: 'Topic' });
    expect(options).toEqual(['disk', 'network', 'memory']);
  });
});

describe('what is not saved', () => {
  const file = () => join(workbench.workspace, '.flan', 'prompts', 'kinds-of-log-lines.json');

  it('is still there when the window is opened again', async () => {
    await view.field('Instruction').fill('Which part failed?');
    await expect.poll(() => textOf(view.page.locator('.saved'))).toBe('Unsaved');
    await editor.page.reload();
    await editor.statusItem.waitFor(WAIT);
    await expect.poll(() => view.field('Instruction').inputValue(), WAIT).toBe('Which part failed?');
    expect(await textOf(view.page.locator('.saved'))).toBe('Unsaved');
  });

  it('is kept when the file changes, and the user decides', async () => {
    const set = view.read('kinds-of-log-lines.json');
    writeFileSync(file(), JSON.stringify({ ...set, instruction: 'Edited elsewhere' }));
    await view.page.getByText('The file was changed elsewhere.').waitFor(WAIT);
    expect(await view.field('Instruction').inputValue()).toBe('Which part failed?');
    await editor.picture('prompts-conflict');
    expect(await view.violations()).toEqual([]);
    await view.button('Use the File').click();
    await expect.poll(() => view.field('Instruction').inputValue()).toBe('Edited elsewhere');
    // Without changes here, the file is just read again.
    writeFileSync(file(), JSON.stringify({ ...set, instruction: 'Edited once more' }));
    await expect.poll(() => view.field('Instruction').inputValue(), WAIT).toBe('Edited once more');
  });

  it('of a broken file is shown with its error, and opens in the editor', async () => {
    const folder = join(workbench.workspace, '.flan', 'prompts');
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, 'broken.json'), '{\n  "name": "Broken",\n  "examples": [\n    { "input": 1 }\n  ]\n}\n');
    await view.page.locator('#picker').click();
    await view.pick('broken.json');
    await view.page.getByText('This file cannot be read.').waitFor(WAIT);
    await editor.picture('prompts-broken');
    expect(await view.violations()).toEqual([]);
    await view.button('Open the file').last().click();
    await editor.page.locator('.tab.active', { hasText: 'broken.json' }).waitFor(WAIT);
    await expect.poll(() => textOf(editor.page.locator('.statusbar'))).toContain('Ln 4');
  });

  it('of a broken file is found by the schema in the editor, too', async () => {
    await editor.command('Problems: Focus on Problems View');
    const problems = editor.page.locator('.markers-panel .monaco-list-row');
    await problems.filter({ hasText: 'Missing property "output"' }).waitFor(WAIT);
    await problems.filter({ hasText: 'Incorrect type. Expected "string"' }).waitFor(WAIT);
    await editor.picture('prompts-schema');
    await editor.command('View: Toggle Panel Visibility');
    await editor.page.locator('.markers-panel').waitFor({ ...WAIT, state: 'hidden' });
    const file = join(workbench.workspace, '.flan', 'prompts', 'broken.json');
    writeFileSync(file, '{ "name": "Mended", "examples": [] }');
    await expect.poll(() => view.name(), WAIT).toBe('Mended');
  });
});

describe('sets', () => {
  it('are renamed, duplicated and deleted', async () => {
    await editor.command('Flan: Rename the Prompt Set…');
    await view.answerBox('Other kinds');
    await expect.poll(() => view.name(), WAIT).toBe('Other kinds');
    expect(view.read('other-kinds.json').name).toBe('Other kinds');
    await editor.command('Flan: Duplicate the Prompt Set');
    await expect.poll(() => view.name(), WAIT).toBe('Other kinds 2');
    await editor.command('Flan: Delete the Prompt Set…');
    await editor.page.locator('.monaco-dialog-box').getByText('Delete', { exact: true }).click();
    await view.page.getByText('A prompt set shows the model what you want').waitFor(WAIT);
    await expect
      .poll(() => existsSync(join(workbench.workspace, '.flan', 'prompts', 'other-kinds-2.json')))
      .toBe(false);
  });

  it('are moved into the profile', async () => {
    await view.button(/^Other kinds \.flan/).click();
    await expect.poll(() => view.name(), WAIT).toBe('Other kinds');
    await editor.command('Flan: Move the Prompt Set to the Workspace or the Profile…');
    await expect.poll(() => textOf(view.page.locator('.place')), WAIT).toContain('Profile');
    await expect.poll(() => existsSync(join(workbench.workspace, '.flan', 'prompts', 'other-kinds.json'))).toBe(false);
  });
});

it('is made, ordered, run, checked and saved with the keyboard alone', async () => {
  const { keyboard } = editor.page;
  await editor.command('Flan: New Prompt Set…');
  await editor.quickPickRows.filter({ hasText: 'Empty' }).waitFor(WAIT);
  await keyboard.press('Enter');
  await view.answerBox('By keys');
  await editor.quickPickRows.filter({ hasText: 'Workspace' }).waitFor(WAIT);
  await keyboard.press('Enter');
  await expect.poll(() => view.focused(), WAIT).toBe('Prompt set: By keys. Choose another.');
  await view.tabTo('Instruction (text)');
  await keyboard.type('Which part failed?');
  for (const [input, output] of [
    ['disk full', 'disk'],
    ['no route', 'network'],
  ] as const) {
    await view.tabTo('Add an Example', input !== 'disk full');
    await keyboard.press('Enter');
    await expect.poll(() => view.focused()).toMatch(/^Input of example/);
    await keyboard.type(input);
    await view.tabTo(`Output of example ${await view.examples.count()} (text)`);
    await keyboard.type(output);
  }
  await keyboard.press('Alt+ArrowUp');
  await expect.poll(() => view.inputs).toEqual(['no route', 'disk full']);
  await view.tabTo('Move example 1: Alt+Up, Alt+Down', true);
  await keyboard.press('ArrowRight');
  expect(await view.focused()).toBe('Switch Off Example 1');
  await keyboard.press('Enter');
  await expect.poll(() => view.focused()).toBe('Switch On Example 1');
  await keyboard.press('Enter');
  await keyboard.press('ArrowLeft');
  await keyboard.press('Delete');
  await expect.poll(() => view.inputs).toEqual(['disk full']);
  expect(await view.focused()).toBe('Move example 1: Alt+Up, Alt+Down');
  await keyboard.press('Control+z');
  await expect.poll(() => view.inputs).toEqual(['no route', 'disk full']);
  await view.tabTo('Check: predict each example from the others', true);
  await keyboard.press('Enter');
  await expect.poll(() => view.said(), WAIT).toMatch(/^\d of 2 examples agree\.$/);
  await view.tabTo('Text to run on (text)');
  await keyboard.type('cannot write to disk');
  await keyboard.press('Control+Enter');
  await expect.poll(() => view.said(), WAIT).toMatch(/^Answer: /);
  expect(await view.focused()).toBe('Text to run on (text)');
  await keyboard.press('Control+s');
  await expect.poll(() => textOf(view.page.locator('.saved')), WAIT).toBe('');
  const { examples, instruction } = view.read('by-keys.json');
  expect(instruction).toBe('Which part failed?');
  expect(examples.map(({ output }) => output)).toEqual(['network', 'disk']);
});
