// What the start of an editor runs of this extension, with a stand-in for the editor's API that takes anything.
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { build } from 'esbuild';
import { beforeAll, expect, it } from 'vitest';

const root = join(__dirname, '..', '..', '..');
const requireHere = createRequire(__filename);

let code = '';

beforeAll(async () => {
  const { outputFiles } = await build({
    entryPoints: [join(root, 'src', 'extension.ts')],
    bundle: true,
    write: false,
    platform: 'node',
    format: 'cjs',
    target: 'node20',
    supported: { 'dynamic-import': false },
    external: ['vscode', './link', './panel'],
    define: { LINK_PARTS: '[]' },
  });
  code = outputFiles[0]?.text ?? '';
});

/** Can be called, made by `new`, and asked for anything, and gives itself. */
const anything: unknown = new Proxy(constructible, {
  get: (_, name) => (name === Symbol.toPrimitive ? () => '' : name === 'then' ? undefined : anything),
  set: () => true,
  apply: () => anything,
  construct: () => anything as object,
});

function constructible(): void {}

/** Runs `activate`; the modules that were asked for, without those of Node itself. */
function activate(api: Readonly<Record<string, unknown>>): string[] {
  const asked: string[] = [];
  const all = new Proxy(api, { get: (target, name) => (name in target ? Reflect.get(target, name) : anything) });
  // The bundle copies what a module has and keeps its prototype.
  const vscode: unknown = Object.create(all);
  const module: { exports: { activate?: (context: object) => void } } = { exports: {} };
  const require = (name: string): unknown => {
    if (name === 'vscode') return vscode;
    if (!name.startsWith('node:')) asked.push(name);
    return requireHere(name);
  };
  new Function('require', 'module', 'exports', code)(require, module, module.exports);
  module.exports.activate?.({
    subscriptions: [],
    asAbsolutePath: (path: string) => path,
    extension: { id: 'flan-local.flan' },
    secrets: anything,
    globalState: anything,
  });
  return asked;
}

it('loads neither the connection to the server nor the prompt-set view', () => {
  expect(activate({})).toEqual([]);
});

it('offers the models to the chat where the editor can take them, and starts where it cannot', () => {
  const vendors: unknown[] = [];
  const registerLanguageModelChatProvider = (vendor: unknown): unknown => {
    vendors.push(vendor);
    return anything;
  };
  activate({ lm: { registerLanguageModelChatProvider } });
  expect(vendors).toEqual(['flan']);
  activate({ lm: {} });
  activate({ lm: undefined });
  expect(vendors).toEqual(['flan']);
});
