/** Every state of the prompt-set view, one after the other: for pictures and accessibility scans in any language. */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { PromptView } from './prompts';

const WAIT = { timeout: 60_000 };

export const LINES = [
  'write failed: no space left on device',
  'connection refused by 10.0.0.4',
  'java heap space exhausted',
  'cannot resolve host db.local',
];

/** The workspace that the states need; sets are called as the readers of the pictures would call them. */
export function looksFiles(name: string, empty: string): Record<string, string> {
  const set = {
    version: 1,
    name,
    instruction: 'What is this line of a log about?',
    form: { input: 'Line', output: 'Topic' },
    options: ['disk', 'network', 'memory'],
    examples: [
      { input: 'write failed: no space left on device', output: 'disk' },
      { input: 'disk quota exceeded', output: 'disk' },
      { input: 'disk sda is full', output: 'disk' },
      // Wrong, and far from what the others let the model expect: it stands out.
      { input: 'read error on /dev/sda', output: 'network' },
      { input: 'cannot resolve host db.local', output: 'network', off: true },
    ],
  };
  return {
    '.flan/prompts/log.json': JSON.stringify(set),
    '.flan/prompts/empty.json': JSON.stringify({ version: 1, name: empty, examples: [] }),
    '.flan/prompts/broken.json': '{\n  "name": "broken",\n  "examples": [ { "input": 1 } ]\n}\n',
    'lines.log': `${LINES.join('\n')}\n`,
  };
}

export interface Look {
  readonly name: string;
  /** From the state before; the first one from any. */
  readonly reach: () => Promise<void>;
}

/** In this order. Elements are found by their ids, not by their words. */
export function looks(view: PromptView, name: string, empty: string): readonly Look[] {
  const { page, workbench } = view;
  const choose = async (set: string) => {
    await page.locator('#picker').click();
    await view.pick(set);
  };
  const fold = async (...sections: readonly string[]) => {
    for (const section of sections) await page.locator(`#title-${section}`).click();
  };
  const file = join(workbench.workspace, '.flan', 'prompts', 'log.json');
  let saved = '';
  const part = (row: number, which: string) => view.example(row).locator(`[data-part="${which}"]`);
  return [
    {
      name: 'welcome',
      reach: () => page.locator('.welcome').waitFor(WAIT),
    },
    {
      name: 'empty',
      reach: async () => {
        await choose(empty);
        await page.locator('#body-examples .empty').waitFor(WAIT);
      },
    },
    {
      name: 'broken',
      reach: async () => {
        await choose('broken');
        await page.locator('.header .message.error').waitFor(WAIT);
      },
    },
    {
      name: 'checked',
      reach: async () => {
        await choose(name);
        await page.locator('#check').click(WAIT);
        await page.locator('#keep-baseline').click(WAIT);
        await page.locator('.baseline').waitFor(WAIT);
        await page.locator('.total').waitFor(WAIT);
        await view.example(4).locator('.odd-note').waitFor(WAIT);
        expect(await page.locator('.odd-note').count()).toBe(1);
      },
    },
    {
      name: 'compared',
      reach: async () => {
        await part(4, 'output').fill('disk');
        await page.locator('#check').click();
        await page.locator('.odd-note').waitFor({ ...WAIT, state: 'detached' });
        await page.locator('#keep-baseline').waitFor(WAIT);
        await page.locator('.check-line .better').first().waitFor(WAIT);
      },
    },
    {
      name: 'conflict',
      reach: async () => {
        saved = readFileSync(file, 'utf8');
        writeFileSync(file, JSON.stringify({ ...JSON.parse(saved), instruction: 'What failed?' }));
        await page.locator('#use-file').waitFor(WAIT);
        await page.locator('.header').scrollIntoViewIfNeeded();
      },
    },
    {
      name: 'deleted',
      reach: async () => {
        writeFileSync(file, saved);
        await page.locator('#use-file').waitFor({ ...WAIT, state: 'detached' });
        await page.locator('#revert').click();
        await part(1, 'delete').click();
        await page.locator('.undo').waitFor(WAIT);
      },
    },
    {
      name: 'settings',
      reach: async () => {
        await page.locator('#undo').click();
        await fold('instruction', 'examples', 'options', 'settings');
        await page.locator('#form').waitFor(WAIT);
      },
    },
    {
      name: 'too-long',
      reach: async () => {
        await fold('settings', 'options', 'examples', 'instruction');
        await part(4, 'input').fill('the disk is full and '.repeat(900));
        await page.locator('.meter .warning').waitFor(WAIT);
        await part(4, 'grip').scrollIntoViewIfNeeded();
      },
    },
    {
      name: 'error',
      reach: async () => {
        await page.locator('#tab-text').click();
        await page.locator('#run-text').fill('disk quota exceeded');
        await page.locator('#run').click();
        await page.locator('.answer .message.error').waitFor(WAIT);
        await page.locator('.answer').scrollIntoViewIfNeeded();
      },
    },
    {
      name: 'answer',
      reach: async () => {
        await page.locator('#revert').click();
        await page.locator('.meter .warning').waitFor({ ...WAIT, state: 'detached' });
        await page.locator('#run').click();
        await page.locator('.answer-facts').waitFor(WAIT);
        await page.locator('.answer').scrollIntoViewIfNeeded();
      },
    },
    {
      name: 'selection',
      reach: async () => {
        await page.locator('#tab-selection').click();
        await page.locator('.excerpt').waitFor(WAIT);
      },
    },
    {
      name: 'file',
      reach: async () => {
        await page.locator('#tab-file').click();
        await page.locator('#choose-file').click();
        await view.dialog(join(workbench.workspace, 'lines.log'));
        await page.locator('.file-name').waitFor(WAIT);
        await page.locator('#run-many').click();
        await page.locator('tbody tr:last-child td:last-child .cell').waitFor(WAIT);
        await page.locator('.table-frame').scrollIntoViewIfNeeded();
      },
    },
  ];
}
