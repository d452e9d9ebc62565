// Bundles the extension, the server, its threads, and the command line into dist/, with the compiled CUDA kernels.
// Native packages stay outside.
import { cpSync } from 'node:fs';
import { build } from 'esbuild';

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

await Promise.all([
  build({
    ...common,
    entryPoints: { extension: 'src/extension.ts', link: 'src/link.ts' },
    outdir: 'dist',
    // `import('./link')` stays a call at run time, of the editor's own `require`: link.js is loaded at the first use.
    supported: { 'dynamic-import': false },
    plugins: [
      {
        name: 'link-is-a-bundle-of-its-own',
        setup: ({ onResolve }) => {
          onResolve({ filter: /^\.\/link$/ }, () => ({ path: './link.js', external: true }));
        },
      },
    ],
  }),
  build({
    ...common,
    entryPoints: {
      server: 'server/main.ts',
      worker: 'server/runtime/worker.ts',
      meter: 'server/runtime/meter-worker.ts',
      quantizer: 'server/weights/quantize_thread.ts',
      cli: 'server/cli.ts',
    },
    outdir: 'dist',
    banner: { js: '#!/usr/bin/env node' },
  }),
]);

cpSync('server/engine/cuda/images', 'dist/cuda', { recursive: true, filter: (file) => !file.endsWith('.sha256') });
