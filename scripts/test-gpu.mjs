// `npm run test:gpu`: everything that needs an NVIDIA card. On a machine without one it says that it ran nothing.
//
//   node scripts/test-gpu.mjs            the engine against recorded values, and, where nvcc is, the kernels by themselves
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
  entryPoints: { engine: join(root, 'test/gpu/engine.ts'), bench: join(root, 'test/gpu/bench.ts') },
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

let failed = run(process.execPath, [join(out, 'engine.cjs')]);
const nvcc = spawnSync('nvcc', ['--version']).status === 0;
const card = spawnSync('nvidia-smi', ['-L'], { encoding: 'utf8' });
if (card.status !== 0 || !nvcc) {
  console.log(`The kernels by themselves were not run: no ${nvcc ? 'card' : 'nvcc'} here.`);
} else {
  const tests = {
    decoder_test: ['-fmad=false', '-arch=native'],
    encoder_test: ['-gencode', 'arch=compute_90a,code=sm_90a'],
  };
  for (const [name, flags] of Object.entries(tests)) {
    const program = join(out, name);
    failed ||= run('nvcc', ['-std=c++17', '-O3', ...flags, '-o', program, join(root, 'test/gpu', `${name}.cu`)]);
    failed ||= run(program, ['check']);
  }
}
process.exitCode = failed ? 1 : 0;

function run(program, args) {
  return spawnSync(program, args, { cwd: root, stdio: 'inherit' }).status !== 0;
}
