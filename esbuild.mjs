// Bundles the extension, the server, its threads, and the command line into dist/, with the compiled CUDA kernels.
// Native packages stay outside.
import { cpSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { build } from 'esbuild';
import { buildInParts } from './scripts/parts.mjs';

const minify = process.argv.includes('--minify');
const common = {
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  sourcemap: 'linked',
  minify,
  logLevel: 'warning',
  // Loaded from node_modules at run time: they carry native parts, or are the editor itself.
  external: ['vscode', 'onnxruntime-node', 'koffi'],
};

/**
 * A module namespace in CommonJS is a copy: esbuild would define the 400 names of the editor's API anew for each file that
 * imports it, which was most of what loading the extension cost. They are taken from the API itself instead.
 */
const apiWithoutCopies = {
  name: 'api-without-copies',
  setup: ({ onLoad }) => {
    onLoad({ filter: /[\\/]src[\\/].*\.ts$/ }, async ({ path }) => {
      const source = await readFile(path, 'utf8');
      const contents = source.replaceAll(
        /^import (?:\* as (\w+)|(\{[^}]*\})) from (['"])vscode\3;?$/gm,
        (_, namespace, names) =>
          `const ${namespace ?? names.replaceAll(/type \w+,?/g, '').replaceAll(' as ', ': ')} = require('vscode');`,
      );
      return { contents, loader: 'ts' };
    });
  },
};

// `import('./link')` stays a call at run time, of the editor's own `require`: such a bundle is loaded at its first use.
const inEditor = { ...common, outdir: 'dist', supported: { 'dynamic-import': false } };
const linkParts = await buildInParts({
  entry: 'src/link.ts',
  name: 'link',
  options: { ...inEditor, plugins: [apiWithoutCopies] },
});

await Promise.all([
  build({
    ...inEditor,
    entryPoints: { extension: 'src/extension.ts', panel: 'src/panel/panel.ts' },
    define: { LINK_PARTS: JSON.stringify(linkParts) },
    plugins: [
      apiWithoutCopies,
      {
        name: 'bundles-of-their-own',
        setup: ({ onResolve }) => {
          onResolve({ filter: /^\.\/(link|panel)$/ }, ({ path, kind }) =>
            kind === 'dynamic-import' ? { path: `${path}.js`, external: true } : undefined,
          );
        },
      },
    ],
  }),
  // The page of the prompt-set view: for a browser, with its style sheets and the icon font.
  build({
    bundle: true,
    platform: 'browser',
    format: 'iife',
    target: 'chrome128',
    sourcemap: 'linked',
    minify,
    logLevel: 'warning',
    entryPoints: {
      page: 'src/panel/page/main.ts',
      'page-style': 'src/panel/page/page.css',
      codicon: 'node_modules/@vscode/codicons/dist/codicon.css',
    },
    entryNames: '[name]',
    assetNames: '[name]',
    loader: { '.ttf': 'file' },
    outdir: 'dist/panel',
    tsconfigRaw: { compilerOptions: { target: 'ES2022', useDefineForClassFields: true } },
  }),
  build({
    ...common,
    entryPoints: {
      server: 'server/main.ts',
      worker: 'server/runtime/worker.ts',
      meter: 'server/runtime/meter-worker.ts',
      quantizer: 'server/weights/quantize_thread.ts',
      hasher: 'server/weights/hub/sha256_thread.ts',
      pull: 'server/runtime/pull-worker.ts',
      cli: 'server/cli.ts',
    },
    outdir: 'dist',
    banner: { js: '#!/usr/bin/env node' },
  }),
]);

cpSync('server/engine/cuda/images', 'dist/cuda', { recursive: true, filter: (file) => !file.endsWith('.sha256') });
