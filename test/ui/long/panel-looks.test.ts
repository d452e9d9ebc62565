// The prompt-set view in Chinese and in the three kinds of theme: pictures, and an accessibility scan of every state.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Editor, launchBrowser } from '../support/editor';
import { FILES } from '../support/files';
import { PromptView } from '../support/prompts';
import { Workbench } from '../support/workbench';

const THEMES = { light: 'Light Modern', dark: 'Dark Modern', contrast: 'Default High Contrast' };

const SET = {
  version: 1,
  name: '日志行分类',
  instruction: 'What is this line of a log about?',
  form: { input: 'Line', output: 'Topic' },
  options: ['disk', 'network', 'memory'],
  examples: [
    { input: 'write failed: no space left on device', output: 'disk' },
    { input: 'no route to host', output: 'network' },
    { input: 'java heap space exhausted', output: 'memory' },
    { input: 'read error on /dev/sda', output: 'network' },
    { input: 'cannot resolve host db.local', output: 'network', off: true },
  ],
};

let workbench: Workbench;
let browser: Browser;

beforeAll(async () => {
  workbench = await Workbench.start({
    files: { ...FILES, '.flan/prompts/log.json': JSON.stringify(SET) },
    locale: 'zh-cn',
  });
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

it.for(Object.entries(THEMES))('has no violations, and is worth looking at; theme %s', async ([name, theme]) => {
  workbench.changeSettings({ 'workbench.colorTheme': theme, 'window.autoDetectColorScheme': false });
  const editor = await Editor.open(browser, workbench);
  try {
    const view = new PromptView(editor, workbench);
    await view.open();
    // The first time it is chosen; later windows open what was open.
    const listed = view.button(/^日志行分类 \.flan/);
    await listed.or(view.field('指令')).first().waitFor({ timeout: 60_000 });
    if (await listed.isVisible()) await listed.click();
    await view.field('指令').waitFor();
    const scans: Record<string, string[]> = {};
    const scan = async (state: string) => {
      scans[state] = await view.violations();
    };
    await view.page.locator('#check').click();
    await view.page.locator('.check-summary #keep-baseline').waitFor({ timeout: 60_000 });
    await view.button('保存为基线').click();
    await view.page.locator('.baseline').waitFor({ timeout: 60_000 });
    await editor.picture(`chinese-prompts-${name}`);
    await scan('examples, checked');
    await view.button('删除示例 1').click();
    await view.page.locator('.undo').waitFor();
    await scan('an example deleted');
    await view.button('撤消').click();
    for (const section of [/^指令$/, /^示例/]) await view.button(section).click();
    for (const section of [/^回答选项/, /^设置/]) await view.button(section).click();
    await scan('settings');
    await editor.picture(`chinese-prompts-settings-${name}`);
    for (const section of [/^回答选项/, /^设置/]) await view.button(section).click();
    await view.field('要运行的文本').fill('disk quota exceeded');
    await view.page.locator('#run').click();
    await view.answer();
    await scan('an answer');
    await editor.picture(`chinese-prompts-answer-${name}`);
    await view.page.getByRole('tab', { name: '选中内容' }).click();
    await scan('selection');
    await view.page.getByRole('tab', { name: '文件' }).click();
    await scan('file');
    await view.page.getByRole('tab', { name: '文本' }).click();
    for (const section of [/^指令$/, /^示例/]) await view.button(section).click();
    expect(Object.entries(scans).filter(([, violations]) => violations.length > 0)).toEqual([]);
  } catch (error) {
    await editor.picture(`failed-chinese-prompts-${name}`);
    throw error;
  } finally {
    await editor.close();
  }
});
