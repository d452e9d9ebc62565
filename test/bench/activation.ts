/**
 * What this extension costs the start of an editor: several starts of a real workbench with the packaged extension, each
 * with a fresh profile. Printed are the time and the CPU time of the extension host's thread for loading
 * `dist/extension.js` and for `activate()`, and beside them the editor's own figures for all extensions.
 *
 *   node test/ui/setup.mjs && npm run package && node test/bench/run.mjs activation [STARTS]
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Editor, launchBrowser } from '../ui/support/editor';
import { FILES } from '../ui/support/files';
import { Workbench } from '../ui/support/workbench';

interface Cost {
  readonly what: 'load' | 'activate';
  readonly ms: number;
  /** Of the host's main thread, user and system together. */
  readonly cpuMs: number;
}

const HOST_FLAG = 'FLAN_ACTIVATION_COSTS';

/** Runs in every Node process of the workbench, before anything else; only the host that loads the extension writes. */
const HOOK = `
const { appendFileSync } = require('node:fs');
const Module = require('node:module');
const measured = (what, action) => {
  const cpu = process.threadCpuUsage?.() ?? process.cpuUsage();
  const start = performance.now();
  const result = action();
  const ms = performance.now() - start;
  const { user, system } = process.threadCpuUsage?.(cpu) ?? process.cpuUsage(cpu);
  appendFileSync(process.env.${HOST_FLAG}, JSON.stringify({ what, ms, cpuMs: (user + system) / 1000 }) + '\\n');
  return result;
};
const load = Module._extensions['.js'];
Module._extensions['.js'] = (module, file) => {
  if (!/flan-local\\.flan[^/]*\\/dist\\/extension\\.js$/.test(file)) return load(module, file);
  measured('load', () => load(module, file));
  const { activate, ...others } = module.exports;
  module.exports = { ...others, activate: (context) => measured('activate', () => activate(context)) };
};
`;

async function main(): Promise<void> {
  const starts = Number(process.argv[2] ?? 5);
  const scratch = mkdtempSync(join(tmpdir(), 'flan-activation-'));
  const hook = join(scratch, 'hook.cjs');
  writeFileSync(hook, HOOK);
  const browser = await launchBrowser();
  try {
    const sums: Cost[] = [];
    for (let start = 1; start <= starts; start++) {
      const file = join(scratch, `${start}.jsonl`);
      writeFileSync(file, '');
      const env = { NODE_OPTIONS: `--require ${hook}`, [HOST_FLAG]: file };
      const workbench = await Workbench.start({ files: FILES, env });
      try {
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
