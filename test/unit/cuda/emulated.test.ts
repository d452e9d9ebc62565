/**
 * The decoder's kernels, compiled for this processor and run by test/emulated: against a decoder in double precision, and
 * columns against each other. Needs a C++ compiler, and Linux, whose coroutines it uses; elsewhere it says that it was not run.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';

const root = join(__dirname, '..', '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'flan-emulated-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const compiler = ['g++', 'clang++'].find((name) => spawnSync(name, ['--version']).status === 0);
const possible = process.platform === 'linux' && compiler !== undefined;
if (!possible) console.warn('The CUDA kernels were not emulated: that needs Linux and g++ or clang++.');

function build(program: string, ...more: string[]): string {
  const out = join(folder, `${program}${more.length}`);
  const flags = [
    '-std=c++17',
    '-O2',
    '-fno-strict-aliasing',
    '-ffp-contract=off',
    '-Wno-unknown-pragmas',
    '-DFLAN_EMULATED',
  ];
  const source = join(root, 'test/emulated', program);
  const built = spawnSync(compiler ?? '', [...flags, ...more, '-I', join(root, 'test/emulated'), '-o', out, source], {
    encoding: 'utf8',
  });
  expect(built.stderr).not.toMatch(/error/);
  expect(built.status).toBe(0);
  return out;
}

describe.runIf(possible)('the emulated decoder kernels', () => {
  it('agree with a decoder in double precision, and columns with each other', { timeout: 240_000 }, () => {
    const { stdout, status } = spawnSync(build('decoder.cpp'), [], { encoding: 'utf8' });
    expect(stdout).toMatch(/\n0 failures\n$/);
    expect(status).toBe(0);
  });

  it('pick the tokens that plain loops over sorted logits give', { timeout: 240_000 }, () => {
    const { stdout, status } = spawnSync(build('pick.cpp'), [], { encoding: 'utf8' });
    expect(stdout).toMatch(/\n0 failures\n$/);
    expect(status).toBe(0);
  });

  it('are found out when blocks take values that are not there yet', { timeout: 240_000 }, () => {
    const { stdout, status } = spawnSync(build('decoder.cpp', '-DFLAN_NO_CHECK'), ['1', 'first'], { encoding: 'utf8' });
    expect(stdout).toMatch(/FAIL|deadlock/);
    expect(status).not.toBe(0);
  });
});
