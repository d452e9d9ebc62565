// Many answers in one window: the memory of the extension host stays where it is, and no work of ours holds it up for long.
// A few in a usual run; `npm run test:soak` gives 200. The report, also in artifacts/soak.json, has the figures.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { cli } from '../support/cli';
import { Editor, launchBrowser } from '../support/editor';
import { FILES } from '../support/files';
import { Inspector, longestStretches, type Stretch } from '../support/inspector';
import { ROOT, Workbench } from '../support/workbench';

const ANSWERS = Number(process.env['FLAN_SOAK'] ?? 20);
/** The heap is measured after so many answers: when everything is loaded that is loaded at the first use, half way, at the end. */
const MEASURED = [Math.ceil(ANSWERS / 10), Math.round(ANSWERS * 0.55), ANSWERS] as const;
/** An answer leaves an entry in the history, less than 4 kB here; a leak of one comment thread is ten times that. */
const MOST_GROWTH_AN_ANSWER = 16_000;
/** What others in the host (the editor itself, its own extensions) grow by in the meantime. */
const MOST_NOISE = 4_000_000;

/** Code of this extension. */
const OURS = /flan-local\.flan[^/]*\/dist\//;

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

it(`${ANSWERS} answers leave the extension host as it was`, {
  timeout: 60_000 + ANSWERS * 15_000,
}, async () => {
  const editor = await Editor.open(browser, workbench);
  try {
    let given = 0;
    const answers = async (until: number): Promise<void> => {
      await editor.openFile('retry.py');
      await editor.selectLines(4, 12);
      while (given < until) {
        // The same task on the same text: the new thread takes the place of the old one.
        await editor.page.keyboard.press('Control+Alt+e');
        given += 1;
        await expect.poll(() => workbench.answersKept(), { timeout: 60_000 }).toBe(given);
      }
      await editor.closeThreads();
    };
    const started = Date.now();
    // The server runs already, started by the command line: it takes no priority from the host.
    await cli(workbench, 'explain', 'retry.py');
    const inspector = await Inspector.ofExtensionHost(workbench.pid);
    try {
      const favoured = inspector.favour();
      const heap: Record<number, number> = {};
      const stretches: Record<number, { all: Stretch[]; ours: Stretch[] }> = {};
      for (const count of MEASURED) {
        await inspector.startProfile();
        await answers(count);
        const profile = await inspector.stopProfile();
        stretches[count] = { all: longestStretches(profile, 5), ours: longestStretches(profile, 5, OURS) };
        heap[count] = await inspector.heap();
      }
      const seconds = Math.round((Date.now() - started) / 1000);
      const report = { answers: given, seconds, favoured, heap, stretches };
      mkdirSync(join(ROOT, 'artifacts'), { recursive: true });
      writeFileSync(join(ROOT, 'artifacts', 'soak.json'), JSON.stringify(report, null, 2));
      console.log(JSON.stringify(report, null, 2));
      const [first] = MEASURED;
      const growth = (heap[given] ?? 0) - (heap[first] ?? 0);
      expect(growth).toBeLessThan(MOST_NOISE + (given - first) * MOST_GROWTH_AN_ANSWER);
    } finally {
      inspector.close();
    }
  } catch (error) {
    await editor.picture('failed-soak');
    throw error;
  }
});
