/**
 * The parity tests on WebGPU, in a process of its own: the Vulkan driver is chosen by environment variables that must
 * be set before the process starts. Without a GPU, Mesa's software adapter is fetched (scripts/software-vulkan.mjs).
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { root } from './recorded';

interface Report {
  readonly numPassedTests: number;
  readonly numFailedTests: number;
  readonly testResults: readonly {
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

/** FLAN_TEST_GPU=1: on the machine's own GPU. */
const ownGpu = process.env['FLAN_TEST_GPU'] === '1';
const adapter = ownGpu ? { environment: {} } : softwareAdapter();
if ('reason' in adapter) {
  console.error(`\nWEBGPU IS NOT TESTED HERE: ${adapter.reason}\n`);
}

describe('webgpu', () => {
  const run = 'environment' in adapter ? it : it.skip;
  // Shaders that were never compiled before take up to a minute and a half on a software adapter.
  run(
    `agrees with transformers${'reason' in adapter ? ` (skipped: ${adapter.reason})` : ''}`,
    { timeout: 600_000 },
    () => {
      const report = parityOnWebGpu('environment' in adapter ? adapter.environment : {});
      const results = report.testResults.flatMap(({ assertionResults }) => assertionResults);
      const failures = results
        .filter(({ status }) => status === 'failed')
        .map(({ fullName, failureMessages }) => `${fullName}: ${failureMessages[0]?.split('\n')[0]}`);
      expect(failures).toEqual([]);
      console.log(`webgpu: ${report.numPassedTests} parity tests passed`);
      // Five architectures by two lengths, and of the starter model its digest and three tests.
      expect(report.numPassedTests).toBe(14);
    },
  );
});

function softwareAdapter(): { readonly environment: Record<string, string> } | { readonly reason: string } {
  const script = join(root, 'scripts', 'software-vulkan.mjs');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script], { encoding: 'utf8', timeout: 180_000 });
  if (status !== 0) return { reason: stderr.trim() || 'the software Vulkan script failed' };
  const lines = stdout.trim().split('\n');
  return { environment: Object.fromEntries(lines.map((line) => line.split(/=(.*)/s).slice(0, 2) as [string, string])) };
}

function parityOnWebGpu(environment: Record<string, string>): Report {
  const folder = join(root, '.cache', 'parity');
  mkdirSync(folder, { recursive: true });
  const output = join(folder, 'webgpu-results.json');
  const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
  const files = ['test/parity/small.test.ts', 'test/parity/starter.test.ts'];
  // One file at a time: two processes that compile the same shaders only make each other wait.
  const args = [
    'run',
    ...files,
    '--no-file-parallelism',
    '--reporter=json',
    `--outputFile=${output}`,
    '--testTimeout=300000',
  ];
  const { VITEST: _, VITEST_POOL_ID: __, VITEST_WORKER_ID: ___, ...inherited } = process.env;
  const env = { ...inherited, ...environment, FLAN_PARITY_PROVIDER: 'webgpu' };
  const started = Date.now();
  const { status, signal, stderr } = spawnSync(process.execPath, [vitest, ...args], {
    cwd: root,
    env,
    encoding: 'utf8',
  });
  try {
    const report = JSON.parse(readFileSync(output, 'utf8')) as Report & { readonly startTime: number };
    if (report.startTime >= started) return report;
  } catch {
    // Told below, with what the process said.
  }
  throw new Error(`The parity tests on WebGPU did not finish (${signal ?? status}): ${stderr.slice(-2000)}`);
}
