// Many answers in one window: the memory of the extension host stays where it is, and no work of ours holds it up for long.
// A few in a usual run; `npm run test:soak` gives 200.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { Editor, launchBrowser } from '../support/editor';
import { FILES } from '../support/files';
import { Inspector, longestStretch } from '../support/inspector';
import { ROOT, Workbench } from '../support/workbench';

const ANSWERS = Number(process.env['FLAN_SOAK'] ?? 6);
/** Answers until everything is loaded that is loaded at the first use. */
const WARM_UP = 3;
/** An answer leaves an entry in the history, less than 4 kB here; a leak of one comment thread is ten times that. */
const MOST_GROWTH_AN_ANSWER = 16_000;
/** What others in the host (the editor itself, its own extensions) grow by in the meantime. */
const MOST_NOISE = 4_000_000;

let workbench: Workbench;
let browser: Browser;

beforeAll(async () => {
  workbench = await Workbench.start({ files: FILES });
  // A key is faster than the palette.
  const keys = [{ key: 'ctrl+alt+e', command: 'flan.explainSelection', when: 'editorTextFocus' }];
  writeFileSync(join(workbench.userData, 'User', 'keybindings.json'), JSON.stringify(keys));
  browser = await launchBrowser();
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
});

/** Complete answers are entries of the history's file: exact, and without looking at the screen. */
function answered(): number {
  const storage = join(workbench.userData, 'User', 'workspaceStorage');
  if (!existsSync(storage)) return 0;
  const files = readdirSync(storage).map((id) => join(storage, id, 'flan-local.flan', 'answers.jsonl'));
  return files.reduce(
    (sum, file) => sum + (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0),
    0,
  );
}

/** What the editor says that the start of the extension took. */
async function activation(editor: Editor): Promise<string> {
  await editor.command('Developer: Show Running Extensions');
  const row = editor.page.locator('.runtime-extensions-editor .monaco-list-row', { hasText: 'flan' }).first();
  await row.waitFor();
  const text = (await row.locator('.activation-time').allInnerTexts()).join();
  // It opens above everything else.
  await editor.page.keyboard.press('Escape');
  return text;
}

it(`${ANSWERS} answers leave the extension host as it was`, {
  timeout: 60_000 + (ANSWERS + WARM_UP) * 15_000,
}, async () => {
  const editor = await Editor.open(browser, workbench);
  try {
    let given = 0;
    const answers = async (count: number): Promise<void> => {
      await editor.openFile('retry.py');
      await editor.selectLines(4, 12);
      for (const until = given + count; given < until; ) {
        // The same task on the same text: the new thread takes the place of the old one.
        await editor.page.keyboard.press('Control+Alt+e');
        given += 1;
        await expect.poll(answered, { timeout: 60_000 }).toBe(given);
      }
      await editor.closeThreads();
    };
    await answers(WARM_UP);
    const inspector = await Inspector.ofExtensionHost(workbench.pid);
    try {
      const before = await inspector.heap();
      await inspector.startProfile();
      await answers(ANSWERS);
      const stretch = longestStretch(await inspector.stopProfile(), /flan-local\.flan[^/]*\/dist\//);
      const after = await inspector.heap();
      const report = {
        activation: await activation(editor),
        answers: ANSWERS,
        heapBefore: before,
        heapAfter: after,
        longestStretchMs: stretch,
      };
      mkdirSync(join(ROOT, 'artifacts'), { recursive: true });
      writeFileSync(join(ROOT, 'artifacts', 'soak.json'), JSON.stringify(report));
      console.log(JSON.stringify(report));
      expect(after - before).toBeLessThan(MOST_NOISE + ANSWERS * MOST_GROWTH_AN_ANSWER);
    } finally {
      inspector.close();
    }
  } catch (error) {
    await editor.picture('failed-soak');
    throw error;
  }
});
