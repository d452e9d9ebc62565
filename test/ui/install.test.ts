// Models on their way onto the machine: the pick, the download with its notification, a reload in the middle, removing.
import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Browser } from 'playwright-core';
import { afterAll, afterEach, beforeAll, expect, it } from 'vitest';
import { HubStandIn } from '../support/hub';
import { ProxyStandIn } from '../support/proxy';
import { Editor, launchBrowser } from './support/editor';
import { FILES } from './support/files';
import { ROOT, Workbench } from './support/workbench';

const FIXTURES = join(__dirname, '..', 'fixtures');
const CLI = join(ROOT, 'dist', 'cli.js');
const TOKEN = 'hf_test_token';

let hub: HubStandIn;
let proxy: ProxyStandIn;
let home: string;
let workbench: Workbench;
let browser: Browser;
let editor: Editor;
/** Large files come in drops: there is time to look, to reload, to cancel. */
let slow = false;

/** A small model under the name of a known one: random weights in the form of mT5, with its tokenizer. */
function repository(): Record<string, Uint8Array> {
  const read = (...path: string[]) => readFileSync(join(FIXTURES, ...path));
  return {
    'config.json': read('family', 'mt5', 'config.json'),
    'model.safetensors': read('family', 'mt5', 'model.safetensors'),
    'spiece.model': read('tokenizers', 'mt5', 'spiece.model'),
    'tokenizer_config.json': read('tokenizers', 'mt5', 'tokenizer_config.json'),
  };
}

beforeAll(async () => {
  home = mkdtempSync(join(tmpdir(), 'flan-hub-'));
  hub = await HubStandIn.start();
  proxy = await ProxyStandIn.start();
  // The beginning of a file comes at once: what it holds is known, and the download has begun to count.
  hub.fault = ({ kind, path, from }) =>
    slow && kind === 'data' && path.endsWith('.safetensors') && from > 0
      ? { kind: 'drip', bytes: 100, ms: 100 }
      : undefined;
  hub.add('google/flan-t5-small', repository());
  hub.add('someone/shared-t5', repository());
  hub.add('someone/private-t5', repository(), { token: TOKEN });
  hub.add('someone/a-bart', {
    ...repository(),
    'config.json': Buffer.from(JSON.stringify({ architectures: ['BartForConditionalGeneration'], model_type: 'bart' })),
  });
  workbench = await Workbench.start({
    files: FILES,
    settings: { 'http.proxy': proxy.url },
    env: { HF_ENDPOINT: hub.url, HF_HOME: join(home, 'no-cache'), NO_PROXY: '', no_proxy: '' },
  });
  browser = await launchBrowser();
  editor = await Editor.open(browser, workbench);
});

afterAll(async () => {
  await browser?.close();
  await workbench?.stop();
  await hub?.close();
  await proxy?.close();
  if (home !== undefined) rmSync(home, { recursive: true, force: true });
});

afterEach(async ({ task }) => {
  slow = false;
  if (task.result?.state === 'fail') await editor.picture(`failed-${task.name}`);
});

const installed = (name: string) => existsSync(join(workbench.flanHome, 'models', name, 'model.int8.safetensors'));
const SMALL = 'google/flan-t5-small';

async function pick(row: string): Promise<void> {
  await editor.command('Flan: Install a Model…');
  await editor.quickPickRows.filter({ hasText: 'google/flan-t5-' }).first().waitFor({ timeout: 60_000 });
  await editor.quickPick.locator('input.input').fill(row === SMALL ? 'flan-t5-small' : 'another');
  await editor.quickPickRows.filter({ hasText: row }).first().click();
}

async function other(name: string): Promise<void> {
  await pick('Another Repository…');
  const input = editor.quickPick.locator('input.input');
  await input.fill(name);
  await input.press('Enter');
}

it('offers the known models with what they need, the recommended one first', async () => {
  await editor.command('Flan: Install a Model…');
  const rows = editor.quickPickRows;
  await rows.filter({ hasText: 'google/flan-t5-' }).first().waitFor({ timeout: 60_000 });
  await editor.picture('install-pick');
  const first = await rows.first().textContent();
  expect(first).toMatch(/google\/flan-t5-\w+.*parameters · download [\d.]+ [GM]B/);
  expect(first).toContain('recommended for this machine');
  expect(first).toMatch(/of memory/);
  await editor.page.keyboard.press('Escape');
});

it('says all about a model before it downloads anything', async () => {
  await pick(SMALL);
  await editor.dialog.waitFor();
  expect(await editor.dialog.textContent()).toMatch(/Install google\/flan-t5-small\?.*Good at: .*Bad at: .*License/s);
  await editor.picture('install-confirm');
  await editor.pressInDialog('Cancel');
  expect(installed('flan-t5-small')).toBe(false);
});

it('shows a download that a reload of the window does not stop', async () => {
  slow = true;
  await pick(SMALL);
  await editor.pressInDialog('Install');
  const progress = editor.notification('Installing flan-t5-small');
  await progress.filter({ hasText: /Downloading · .*B \/ / }).waitFor({ timeout: 60_000 });
  await editor.picture('install-progress');
  await editor.reload();
  await progress.filter({ hasText: /Downloading/ }).waitFor({ timeout: 60_000 });
  await editor.picture('install-found-again');
  await editor.pressInNotification('Installing flan-t5-small', 'Cancel');
  await editor.notification('was stopped. What was downloaded is kept.').waitFor({ timeout: 60_000 });
  await editor.picture('install-stopped');
  expect(installed('flan-t5-small')).toBe(false);
});

it('goes on from there, and the model is one pick away', async () => {
  await editor.pressInNotification('was stopped', 'Continue');
  await editor.notification('flan-t5-small is installed.').waitFor({ timeout: 60_000 });
  await editor.picture('install-done');
  expect(installed('flan-t5-small')).toBe(true);
  // All of it came through the proxy of the editor's settings.
  expect(new Set(proxy.tunnels)).toEqual(new Set([new URL(hub.url).host]));
  await editor.pressInNotification('flan-t5-small is installed.', 'Use It Now');
  await expect.poll(() => workbench.machineSettings()['flan.model'], { timeout: 60_000 }).toBe('flan-t5-small');
  await expect.poll(() => editor.statusItem.textContent(), { timeout: 60_000 }).toMatch(/flan-t5-small · CPU/);
});

it('waits for the command line that installs the same model, and shows how far that is', async () => {
  slow = true;
  const env = { ...process.env, FLAN_HOME: workbench.flanHome, HF_ENDPOINT: hub.url, HF_HOME: join(home, 'no-cache') };
  const child = spawn(process.execPath, [CLI, 'pull', 'someone/shared-t5'], { env, stdio: 'ignore' });
  const ended = new Promise<number | null>((resolve) => child.on('exit', resolve));
  try {
    const journal = join(workbench.flanHome, 'models', '.pulls', 'shared-t5', 'journal');
    await expect.poll(() => existsSync(journal), { timeout: 60_000 }).toBe(true);
    await other('someone/shared-t5');
    await editor.pressInDialog('Install');
    const waiting = editor.notification('Installing shared-t5');
    await waiting.filter({ hasText: /Another process is installing it · .*B \/ / }).waitFor({ timeout: 60_000 });
    await editor.picture('install-waiting');
    slow = false;
    hub.cut();
    await editor.notification('shared-t5 is installed.').waitFor({ timeout: 60_000 });
    expect(await ended).toBe(0);
    await editor.clearNotifications();
  } finally {
    child.kill();
  }
});

it('refuses another architecture by its name', async () => {
  await other('someone/a-bart');
  await editor
    .notification('someone/a-bart is a model of type BartForConditionalGeneration')
    .waitFor({ timeout: 60_000 });
  await editor.picture('install-refused');
  await editor.clearNotifications();
});

it('says which repository is not there', async () => {
  await other('someone/nothing-here');
  await editor.notification(/someone\/nothing-here/).waitFor({ timeout: 60_000 });
  await editor.clearNotifications();
});

it('asks for the token that a private model needs, and keeps it secret', async () => {
  await other('someone/private-t5');
  await editor.pressInNotification(/token/i, 'Set Hugging Face Token…');
  const input = editor.quickPick.locator('input.input');
  await input.waitFor();
  expect(await input.getAttribute('type')).toBe('password');
  await editor.picture('install-token');
  await input.fill(TOKEN);
  await input.press('Enter');
  await editor.page.locator('.statusbar-item', { hasText: 'The token is stored.' }).waitFor();
  await other('someone/private-t5');
  await editor.dialog.waitFor({ timeout: 60_000 });
  await editor.picture('install-other');
  await editor.pressInDialog('Install');
  await editor.notification('private-t5 is installed.').waitFor({ timeout: 60_000 });
  expect(installed('private-t5')).toBe(true);
  await editor.clearNotifications();
});

it('removes a model, and says what that frees', async () => {
  await editor.command('Flan: Remove a Model…');
  const row = editor.quickPickRows.filter({ hasText: 'private-t5' });
  await row.waitFor({ timeout: 60_000 });
  await editor.picture('remove-pick');
  await row.click();
  await editor.dialog.waitFor();
  await editor.picture('remove-confirm');
  await editor.pressInDialog('Remove');
  await editor.page.locator('.statusbar-item', { hasText: 'private-t5 is removed' }).waitFor({ timeout: 60_000 });
  expect(installed('private-t5')).toBe(false);
});
