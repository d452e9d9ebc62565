/**
 * What the first request costs the thread that makes it: CPU time of each turn while the built language client is loaded
 * part by part and connected to a real server, in plain Node with a stand-in for the editor's API. A Node that counts the
 * thread alone (`process.threadCpuUsage`, from 23.9 on) leaves out compiler and collector threads.
 *
 *   node esbuild.mjs --minify && node test/bench/run.mjs first
 */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import Module from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

interface Connected {
  request(method: string, params: unknown): Promise<unknown>;
  close(): Promise<void>;
}

interface LinkModule {
  openLink(options: object): Promise<Connected>;
}

/** As in `src/parts.ts`. */
const TURN_MS = 2;

const dist = join(process.cwd(), 'dist');
const immediate = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** Milliseconds since the last call. */
function stopwatch(): () => number {
  const usage = (): NodeJS.CpuUsage =>
    (process as { threadCpuUsage?: () => NodeJS.CpuUsage }).threadCpuUsage?.() ?? process.cpuUsage();
  let last = usage();
  return () => {
    const now = usage();
    const ms = (now.user + now.system - last.user - last.system) / 1000;
    last = now;
    return ms;
  };
}

async function main(): Promise<void> {
  standIn();
  const loading: number[] = [];
  const lap = stopwatch();
  const parts = readdirSync(dist)
    .map((name) => /^link-(\d+)\.js$/.exec(name)?.[1])
    .filter((part) => part !== undefined)
    .sort((a, b) => Number(a) - Number(b));
  for (const part of parts) {
    await immediate();
    lap();
    const { modules } = require(join(dist, `link-${part}.js`)) as { modules: Record<string, () => void> };
    loading.push(lap());
    await immediate();
    let since = performance.now();
    lap();
    for (const run of Object.values(modules)) {
      run();
      if (performance.now() - since < TURN_MS) continue;
      loading.push(lap());
      await immediate();
      lap();
      since = performance.now();
    }
    loading.push(lap());
  }
  lap();
  const { openLink } = require(join(dist, 'link.js')) as LinkModule;
  loading.push(lap());
  report('to load', loading);

  const home = mkdtempSync(join(tmpdir(), 'flan-first-'));
  try {
    // The first connection starts the server, the second one finds it.
    for (const what of ['to start the server and connect', 'to connect']) {
      const turns: number[] = [];
      let going = true;
      lap();
      const watch = (): void => {
        turns.push(lap());
        if (going) setImmediate(watch);
      };
      watch();
      const link = await openLink({ serverPath: join(dist, 'server.js'), home, lingerSeconds: 5, log: anything });
      await link.request('flan/status', null);
      going = false;
      report(what, turns);
      await link.close();
    }
  } finally {
    rmSync(home, { recursive: true, force: true });
  }
}

function report(what: string, turns: readonly number[]): void {
  const longest = [...turns].sort((a, b) => b - a).slice(0, 5);
  const sum = turns.reduce((all, each) => all + each, 0);
  console.log(`${what}: longest turns ${longest.map((ms) => ms.toFixed(1)).join(', ')} ms, all ${sum.toFixed(0)} ms`);
}

function constructible(): void {}

/** Can be called, made by `new`, and asked for anything, and gives itself. */
const anything: unknown = new Proxy(constructible, {
  get: (_, name) => (name === Symbol.toPrimitive ? () => '' : name === 'then' ? undefined : anything),
  set: () => true,
  apply: () => anything,
  construct: () => anything as object,
});

function standIn(): void {
  class EventEmitter {
    event = (): { dispose(): void } => ({ dispose: () => undefined });
    fire(): void {}
    dispose(): void {}
  }
  const known: Readonly<Record<string | symbol, unknown>> = {
    EventEmitter,
    version: '1.140.0',
    workspace: rest({ workspaceFolders: undefined, textDocuments: [], notebookDocuments: [] }),
    window: rest({ visibleTextEditors: [] }),
    env: { appName: 'bench', language: 'en' },
  };
  const api = rest(known);
  const loader = Module as unknown as { _load(request: string, ...more: unknown[]): unknown };
  const load = loader._load;
  loader._load = (request, ...more) => (request === 'vscode' ? api : load.call(loader, request, ...more));
}

function rest(known: Readonly<Record<string | symbol, unknown>>): unknown {
  return new Proxy(known, { get: (target, name) => (name in target ? target[name] : anything) });
}

void main().then(
  () => process.exit(0),
  (error: unknown) => {
    console.error(error);
    process.exit(1);
  },
);
