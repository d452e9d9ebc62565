// `npm run test:gpu`: everything that needs an NVIDIA card. On a machine without one it says that it ran nothing.
//
//   node scripts/test-gpu.mjs            the engine against recorded values, speculation, a mixed run of five minutes,
//                                        where torch and transformers are, Flan-UL2's shapes against them, and, where
//                                        nvcc is, the kernels by themselves
//   node scripts/test-gpu.mjs --sanitize the same, and the kernels again under compute-sanitizer (much slower)
//   node scripts/test-gpu.mjs --bundle   only bundles the programs into dist/gpu/, to carry them to a bare GPU host;
//                                        there `node dist/gpu/engine.cjs` runs with koffi and the repository's files
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
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
fullSize();
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

/** Flan-UL2's shapes against transformers in float32, which takes 78 GB: all layers where the card has room, else eight. */
function fullSize() {
  if (spawnSync('python3', ['-c', 'import torch, transformers']).status !== 0) {
    console.log('Parity at full size was not run: no python3 with torch and transformers here.');
    return;
  }
  const memory = spawnSync('nvidia-smi', ['--query-gpu=memory.total', '--format=csv,noheader,nounits'], {
    encoding: 'utf8',
  });
  const layers = Number.parseInt(memory.stdout, 10) > 100_000 ? '32' : '8';
  const folder = join(root, 'artifacts', 'full-size');
  const program = join(out, 'full_size.cjs');
  const written = spawnSync(process.execPath, [program, 'write', folder, layers], { encoding: 'utf8' });
  const reference = join(folder, 'reference.json');
  const python = [join(root, 'test/gpu/full_size.py'), written.stdout.trim(), reference];
  if (check(`the reference of ${layers} layers at full size`, 'python3', python)) {
    check(`${layers} layers at full size`, process.execPath, [program, 'check', folder, reference, layers]);
  }
  rmSync(folder, { recursive: true, force: true });
}

function check(name, program, args) {
  const start = performance.now();
  const ok = spawnSync(program, args, { cwd: root, stdio: 'inherit' }).status === 0;
  results.push({ name, ok, seconds: (performance.now() - start) / 1000 });
  return ok;
}
