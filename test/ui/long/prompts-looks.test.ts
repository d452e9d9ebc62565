// The prompt-set view in the three kinds of theme and both languages: pictures, and an accessibility scan of every state.
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { Editor, launchBrowser } from '../support/editor';
import { FILES } from '../support/files';
import { looks, looksFiles } from '../support/promptlooks';
import { PromptView } from '../support/prompts';
import { ALL_KINDS, FOLLOW_THE_SYSTEM, KINDS, Themes } from '../support/themes';
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

describe.for(LANGUAGES)('the view in $language', ({ language, locale, set, empty }) => {
  let workbench: Workbench;
  let editor: Editor;
  let view: PromptView;
  let themes: Themes;

  beforeAll(async () => {
    workbench = await Workbench.start({
      files: { ...FILES, ...looksFiles(set, empty) },
      settings: FOLLOW_THE_SYSTEM,
      ...(locale === undefined ? {} : { locale }),
    });
    editor = await Editor.open(browser, workbench);
    // More of a long page is on one picture. Before the window is loaded again: it may not hear of it while it loads.
    await editor.page.setViewportSize({ width: 1280, height: 1000 });
    themes = await Themes.of(editor);
    view = new PromptView(editor, workbench);
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

  it('has no violations in any state and theme', { timeout: 300_000 }, async () => {
    const scans: [string, string[]][] = [];
    for (const { name, reach } of looks(view, set, empty)) {
      await reach();
      for (const kind of ALL_KINDS) {
        await themes.use(kind);
        await view.page.locator(`body[data-vscode-theme-kind="${KINDS[kind].page}"]`).waitFor({ timeout: 60_000 });
        scans.push([`${name}, ${kind}`, await view.violations()]);
        await editor.picture(`prompts-${name}-${language}-${kind}`);
      }
    }
    expect(scans.length).toBeGreaterThan(30);
    expect(scans.filter(([, violations]) => violations.length > 0)).toEqual([]);
  });
});
