// Bundles one benchmark and runs it: node test/bench/run.mjs NAME [ARGUMENTS]; `../fuzz/main` is the fuzzing of all readers.
import { spawnSync } from 'node:child_process';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const here = dirname(fileURLToPath(import.meta.url));
const [name, ...rest] = process.argv.slice(2);
if (name === undefined) {
  console.error('Usage: node test/bench/run.mjs NAME [ARGUMENTS]');
  process.exit(2);
}
// Inside the tree, so that native packages are found from there.
const outfile = join(here, '..', '..', '.cache', 'bench', `${name}.cjs`);
await build({
  entryPoints: [join(here, `${name}.ts`)],
  outfile,
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  external: ['onnxruntime-node', 'koffi', 'esbuild', 'playwright-core'],
  logLevel: 'warning',
});
process.exit(spawnSync(process.execPath, [outfile, ...rest], { stdio: 'inherit' }).status ?? 1);
