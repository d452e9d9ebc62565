// Every view but the prompt sets', in both languages and the three kinds of theme, as pictures to look at.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Editor, launchBrowser, type Thread } from '../support/editor';
import { FILES } from '../support/files';
import { FOLLOW_THE_SYSTEM, Themes } from '../support/themes';
import { ROOT, Workbench } from '../support/workbench';

const LANGUAGES = {
  en: { locale: undefined, table: 'package.nls.json', error: 'No answer.', automatic: 'Automatic' },
  zh: { locale: 'zh-cn', table: 'package.nls.zh-cn.json', error: '没有回答', automatic: '自动' },
} as const;

describe.for(Object.entries(LANGUAGES))('all views in %s', ([language, { locale, table, error, automatic }]) => {
  const titles: Record<string, string> = JSON.parse(readFileSync(join(ROOT, table), 'utf8'));
  const title = (key: string): string => titles[key] ?? key;
  let workbench: Workbench;
  let browser: Browser;

  beforeAll(async () => {
    // Pages are tabs, and not windows over whatever was there before.
    const settings = { ...FOLLOW_THE_SYSTEM, 'workbench.editor.useModal': 'off' };
    workbench = await Workbench.start({ files: FILES, settings, ...(locale === undefined ? {} : { locale }) });
    browser = await launchBrowser();
  });

  afterAll(async () => {
    await browser?.close();
    await workbench?.stop();
  });

  it('are seen in a light, a dark and a high-contrast theme', { timeout: 300_000 }, async () => {
    const editor = await Editor.open(browser, workbench);
    const themes = await Themes.of(editor);
    const picture = (view: string) => themes.pictures(`${view}-${language}`);
    /** The editor explains what the mouse happens to rest on, and the field of a list until a key is pressed. */
    const pictureOfList = async (view: string) => {
      await editor.page.mouse.move(1000, 740);
      await editor.page.waitForTimeout(500);
      await editor.page.keyboard.press('ArrowDown');
      await editor.page.keyboard.press('ArrowUp');
      await picture(view);
    };
    const command = (key: string) => editor.command(`Flan: ${title(key)}`);
    const thread: Thread = editor.threads;
    // Pages of views that are hidden are kept.
    const webview = () =>
      editor.page.locator('iframe.webview.ready:visible').last().contentFrame().frameLocator('#active-frame');
    const ask = async (file: string, from: number, to: number): Promise<void> => {
      await command('command.removeAnswers');
      await editor.command('View: Show Explorer');
      await editor.openFile(file);
      await editor.selectLines(from, to);
      await command('command.explain');
    };
    try {
      await ask('notes.md', 1, 6);
      await thread.action(title('answer.copy')).waitFor({ timeout: 60_000 });
      await thread.comments.last().hover();
      await picture('answer');

      workbench.holdServer();
      await ask('numbers.txt', 1, 200);
      await workbench.crawlUntil(() => thread.isWriting());
      await picture('writing');
      await thread.titleAction(title('answer.stop')).click();
      workbench.resumeServer();
      await thread.action(title('answer.copy')).waitFor({ timeout: 60_000 });
      await picture('stopped');

      workbench.changeMachineSettings({ 'flan.model': workbench.workspace });
      await ask('retry.py', 4, 12);
      await thread.comments.last().getByText(error).waitFor({ timeout: 60_000 });
      await picture('error');
      workbench.changeMachineSettings({ 'flan.model': '' });

      await command('history.show');
      await editor.page.locator('.pane-body .monaco-list-row[aria-level="2"]').first().waitFor();
      await picture('history');
      await command('history.search');
      await editor.quickPickRows.first().waitFor();
      await pictureOfList('history-search');
      await editor.page.keyboard.press('Escape');

      await command('command.chooseModel');
      await editor.quickPickRows.filter({ hasText: automatic }).first().waitFor({ timeout: 60_000 });
      await pictureOfList('models');
      await editor.page.keyboard.press('Escape');
      await command('command.installModel');
      await editor.quickPickRows.filter({ hasText: 'google/flan-t5-base' }).first().waitFor({ timeout: 60_000 });
      await pictureOfList('install');
      await editor.page.keyboard.press('Escape');

      await editor.statusItem.click();
      await editor.quickPickRows.nth(5).waitFor();
      await pictureOfList('menu');
      await editor.page.keyboard.press('Escape');

      await editor.command('View: Close Primary Side Bar');
      await command('command.doctor');
      const page = webview();
      await page.locator('table').nth(1).waitFor({ timeout: 60_000 });
      await picture('doctor');

      await command('command.settings');
      await editor.page.locator('.settings-editor .setting-item-contents').first().waitFor();
      // Where the files are on another machine, its settings have a tab of their own.
      await editor.page.locator('.settings-tabs-widget .action-label', { hasText: 'Remote' }).click();
      await expect
        .poll(() => editor.page.locator('.settings-editor .setting-item-contents').count())
        .toBeGreaterThan(4);
      await picture('settings');

      await command('command.getStarted');
      await editor.page.locator('.gettingStartedContainer .getting-started-step').nth(3).waitFor();
      await webview().locator('svg').first().waitFor({ timeout: 60_000 });
      await picture('walkthrough');
      expect(await editor.page.locator('.getting-started-step').count()).toBe(4);

      await editor.command('View: Close All Editors');
      await editor.command('Extensions: Show Installed Extensions');
      await editor.page.locator('.extensions-list .monaco-list-row', { hasText: 'Flan' }).first().click();
      const readme = webview();
      await readme.locator('h2').nth(1).waitFor({ timeout: 60_000 });
      await picture('details');
      // What cannot be shown or followed there is not in it.
      expect(await readme.locator('img, a[href]:not([href^="http"]):not([href^="#"])').count()).toBe(0);
    } catch (error) {
      await editor.picture(`failed-pictures-${language}`);
      throw error;
    } finally {
      workbench.resumeServer();
      workbench.changeMachineSettings({ 'flan.model': '' });
      await editor.close();
    }
  });
});
