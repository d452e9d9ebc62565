/**
 * What this extension costs the start of an editor: several starts of a real workbench with the packaged extension, each
 * with a fresh profile. Printed are the time and the CPU time of the extension host's thread for loading
 * `dist/extension.js` and for `activate()`, and beside them the editor's own figures for all extensions.
 *
 *   node test/ui/setup.mjs && npm run package && node test/bench/run.mjs activation [STARTS]
 */
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { Editor, launchBrowser } from '../ui/support/editor';
import { FILES } from '../ui/support/files';
import { Workbench } from '../ui/support/workbench';

interface Cost {
  readonly what: 'load' | 'activate';
  readonly ms: number;
  /** Of the host's main thread, user and system together. */
  readonly cpuMs: number;
}

/** Stands in the place of `dist/extension.js`, which is beside it under another name: extension hosts take no NODE_OPTIONS. */
const measuring = (file: string): string => `
const { appendFileSync } = require('node:fs');
const measured = (what, action) => {
  const cpu = process.threadCpuUsage?.() ?? process.cpuUsage();
  const start = performance.now();
  const result = action();
  const ms = performance.now() - start;
  const { user, system } = process.threadCpuUsage?.(cpu) ?? process.cpuUsage(cpu);
  appendFileSync(${JSON.stringify(file)}, JSON.stringify({ what, ms, cpuMs: (user + system) / 1000 }) + '\\n');
  return result;
};
const own = measured('load', () => require('./measured.js'));
module.exports = { ...own, activate: (context) => measured('activate', () => own.activate(context)) };
`;

async function main(): Promise<void> {
  const starts = Number(process.argv[2] ?? 5);
  const scratch = mkdtempSync(join(tmpdir(), 'flan-activation-'));
  const browser = await launchBrowser();
  try {
    const sums: Cost[] = [];
    for (let start = 1; start <= starts; start++) {
      const file = join(scratch, `${start}.jsonl`);
      writeFileSync(file, '');
      const workbench = await Workbench.start({ files: FILES });
      try {
        const own = join(workbench.installed(), 'dist', 'extension.js');
        renameSync(own, join(dirname(own), 'measured.js'));
        writeFileSync(own, measuring(file));
        const editor = await Editor.open(browser, workbench);
        const shown = await runningExtensions(editor);
        await editor.close();
        const costs = readFileSync(file, 'utf8')
          .split('\n')
          .filter((line) => line !== '')
          .map((line): Cost => JSON.parse(line));
        if (costs.length === 0) throw new Error('the extension host told nothing: did the extension start?');
        const parts = costs.map(({ what, ms, cpuMs }) => `${what} ${ms.toFixed(1)} ms (CPU ${cpuMs.toFixed(1)})`);
        console.log(`start ${start}: ${parts.join(', ')}`);
        console.log(`  the editor says: ${shown.join('; ')}`);
        const all = (of: (cost: Cost) => number): number => costs.reduce((sum, cost) => sum + of(cost), 0);
        sums.push({ what: 'activate', ms: all(({ ms }) => ms), cpuMs: all(({ cpuMs }) => cpuMs) });
      } finally {
        await workbench.stop();
      }
    }
    const middle = (of: (cost: Cost) => number): string =>
      (sums.map(of).sort((a, b) => a - b)[Math.floor(sums.length / 2)] ?? 0).toFixed(1);
    console.log(`median of ${starts}: ${middle(({ ms }) => ms)} ms, CPU ${middle(({ cpuMs }) => cpuMs)} ms`);
  } finally {
    await browser.close();
    rmSync(scratch, { recursive: true, force: true });
  }
}

/** `NAME: Activation: 12ms` of each extension that the editor lists. */
async function runningExtensions(editor: Editor): Promise<string[]> {
  // The list draws what is in view only.
  await editor.page.setViewportSize({ width: 1280, height: 2400 });
  await editor.command('Developer: Show Running Extensions');
  const rows = editor.page.locator('.runtime-extensions-editor .monaco-list-row');
  await rows.filter({ hasText: 'flan' }).first().waitFor();
  const found: string[] = [];
  for (const row of await rows.all()) {
    const name = (await row.locator('.name').allInnerTexts()).join();
    const time = (await row.locator('.activation-time').allInnerTexts()).join();
    if (time !== '') found.push(`${name}: ${time}`);
  }
  return found;
}

void main();
