// `npm run test:gpu`: everything that needs an NVIDIA card. On a machine without one it says that it ran nothing.
//
//   node scripts/test-gpu.mjs            the engine against recorded values, speculation, a mixed run of five minutes, and,
//                                        where nvcc is, the kernels by themselves
//   node scripts/test-gpu.mjs --sanitize the same, and the kernels again under compute-sanitizer (much slower)
//   node scripts/test-gpu.mjs --bundle   only bundles the programs into dist/gpu/, to carry them to a bare GPU host;
//                                        there `node dist/gpu/engine.cjs` runs with koffi and the repository's files
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

const root = join(import.meta.dirname, '..');
const out = join(root, 'dist', 'gpu');
mkdirSync(out, { recursive: true });
await build({
  entryPoints: Object.fromEntries(
    ['engine', 'speculation', 'mixed', 'bench', 'full_size'].map((name) => [
      name,
      join(root, 'test/gpu', `${name}.ts`),
    ]),
  ),
  outdir: out,
  outExtension: { '.js': '.cjs' },
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  external: ['koffi', 'onnxruntime-node'],
  logLevel: 'warning',
});
cpSync(join(root, 'server/engine/cuda/images'), join(out, 'cuda'), { recursive: true });
if (process.argv.includes('--bundle')) process.exit(0);

const card = spawnSync('nvidia-smi', ['-L'], { encoding: 'utf8' });
if (card.status !== 0) {
  spawnSync(process.execPath, [join(out, 'engine.cjs')], { cwd: root, stdio: 'inherit' });
  process.exit(0);
}
const results = [];
for (const name of ['engine', 'speculation', 'mixed']) check(name, process.execPath, [join(out, `${name}.cjs`)]);
const nvcc = spawnSync('nvcc', ['--version']).status === 0;
if (!nvcc) {
  console.log('The kernels by themselves were not run: no nvcc here.');
} else {
  const tests = {
    decoder_test: ['-fmad=false', '-arch=native'],
    encoder_test: ['-gencode', 'arch=compute_90a,code=sm_90a'],
  };
  for (const [name, flags] of Object.entries(tests)) {
    const program = join(out, name);
    const source = join(root, 'test/gpu', `${name}.cu`);
    const compiled = check(`${name} compiles`, 'nvcc', ['-std=c++17', '-O3', ...flags, '-o', program, source]);
    if (compiled) check(name, program, ['check']);
    for (const tool of compiled && process.argv.includes('--sanitize') ? ['memcheck', 'racecheck', 'synccheck'] : []) {
      check(`${name} under ${tool}`, 'compute-sanitizer', ['--tool', tool, '--error-exitcode', '9', program, 'check']);
    }
  }
}
console.log('');
for (const { name, ok, seconds } of results) console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} (${seconds.toFixed(0)} s)`);
process.exitCode = results.every(({ ok }) => ok) ? 0 : 1;

function check(name, program, args) {
  const start = performance.now();
  const ok = spawnSync(program, args, { cwd: root, stdio: 'inherit' }).status === 0;
  results.push({ name, ok, seconds: (performance.now() - start) / 1000 });
  return ok;
}
