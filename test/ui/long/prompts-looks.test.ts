// The prompt-set view in the three kinds of theme and both languages: pictures, and an accessibility scan of every state.
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Editor, launchBrowser } from '../support/editor';
import { FILES } from '../support/files';
import { changeTheme, looks, looksFiles, THEMES } from '../support/promptlooks';
import { PromptView } from '../support/prompts';
import { Workbench } from '../support/workbench';

const LANGUAGES = [
  { language: 'en', locale: undefined, set: 'Topics of log lines', empty: 'Fields of a form' },
  { language: 'zh', locale: 'zh-cn', set: '日志行分类', empty: '表单字段' },
] as const;

let browser: Browser;

beforeAll(async () => {
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
});

describe.for(LANGUAGES)('in $language', ({ language, locale, set, empty }) => {
  let workbench: Workbench;
  let editor: Editor;
  let view: PromptView;

  beforeAll(async () => {
    workbench = await Workbench.start({
      files: { ...FILES, ...looksFiles(set, empty) },
      ...(locale === undefined ? {} : { locale }),
    });
    editor = await Editor.open(browser, workbench);
    view = new PromptView(editor, workbench);
    // More of a long page is on one picture.
    await editor.page.setViewportSize({ width: 1280, height: 1000 });
    await editor.openFile('notes.md');
    await editor.selectLines(1, 2);
    await view.open();
  });

  afterAll(async () => {
    await editor?.close();
    await workbench?.stop();
  });

  afterEach(async ({ task }) => {
    if (task.result?.state === 'fail') await editor.picture(`failed-prompts-${language}-${task.name}`);
  });

  it('has no violations before a set is chosen', async () => {
    const scans: Record<string, string[]> = {};
    for (const [kind, theme] of Object.entries(THEMES)) {
      await changeTheme(view, theme);
      scans[kind] = await view.violations();
      await editor.picture(`prompts-welcome-${language}-${kind}`);
    }
    expect(Object.entries(scans).filter(([, violations]) => violations.length > 0)).toEqual([]);
  });

  it.for(Object.entries(THEMES))('has no violations in any state; theme %s', async ([kind, theme]) => {
    await changeTheme(view, theme);
    const scans: Record<string, string[]> = {};
    for (const { name, reach } of looks(view, set, empty)) {
      await reach();
      scans[name] = await view.violations();
      await editor.picture(`prompts-${name}-${language}-${kind}`);
    }
    expect(Object.entries(scans).filter(([, violations]) => violations.length > 0)).toEqual([]);
  });
});
