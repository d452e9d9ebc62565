// Pictures in the three kinds of theme, and the whole way from the menu to the answer in Chinese.
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Editor, launchBrowser } from './support/editor';
import { FILES } from './support/files';
import { Workbench } from './support/workbench';

const THEMES = { light: 'Light Modern', dark: 'Dark Modern', contrast: 'Default High Contrast' };

let workbench: Workbench;
let browser: Browser;

beforeAll(async () => {
  workbench = await Workbench.start({ files: FILES, locale: 'zh-cn' });
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

it.for(Object.entries(THEMES))('speaks Chinese when the editor does; theme %s', async ([name, theme]) => {
  workbench.changeSettings({ 'workbench.colorTheme': theme, 'window.autoDetectColorScheme': false });
  const editor = await Editor.open(browser, workbench);
  try {
    await editor.openFile('notes.md');
    await editor.selectLines(6, 6);
    await editor.contextMenu('The second', '解释选中内容', `chinese-menu-${name}`);
    const thread = editor.thread('解释 · 第 6 行');
    await thread.action('复制回答').waitFor({ timeout: 60_000 });
    expect(await thread.label()).toBe('演示模型');
    expect(await thread.smallPrint()).toContain('模型无法读取这些字符');
    await editor.picture(`chinese-answer-${name}`);
    await editor.statusItem.click();
    await editor.quickPickRows.filter({ hasText: '停止服务器并释放 GPU' }).waitFor();
    await editor.picture(`chinese-status-${name}`);
    await editor.quickPickRows.filter({ hasText: '显示历史记录' }).click();
    await editor.page.locator('.monaco-list-row', { hasText: 'notes.md 的解释' }).first().waitFor();
    await editor.picture(`chinese-history-${name}`);
    await editor.command('Flan: 开始使用');
    await editor.page.locator('.gettingStartedContainer .getting-started-step', { hasText: '试用内置模型' }).waitFor();
    await editor.picture(`chinese-walkthrough-${name}`);
  } catch (error) {
    await editor.picture(`failed-chinese-${name}`);
    throw error;
  } finally {
    await editor.close();
  }
});
