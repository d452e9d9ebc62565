// `npm test`: sets up what is missing, then every check and every test. Ends with one line that sums up all suites.

import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { install, must, root } from './setup.mjs';

install();
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs');
const results = join(root, 'artifacts', 'results');
rmSync(results, { recursive: true, force: true });
mkdirSync(results, { recursive: true });

must('npm', ['run', '--silent', 'check']);
must('npm', ['run', '--silent', 'build']);

const totals = { passed: 0, failed: 0, skipped: 0 };
let broken = false;

/** Runs one suite to its end, whatever it finds, so that a run reports everything that is wrong. */
function suite(name, args) {
  const started = Date.now();
  const file = join(results, `${name}.json`);
  console.log(`\n── ${name}`);
  const { status } = spawnSync(
    process.execPath,
    [...args, '--reporter=default', '--reporter=json', `--outputFile.json=${file}`],
    { cwd: root, stdio: 'inherit' },
  );
  try {
    const report = JSON.parse(readFileSync(file, 'utf8'));
    totals.passed += report.numPassedTests;
    totals.failed += report.numFailedTests;
    totals.skipped += report.numPendingTests + report.numTodoTests;
    broken ||= report.numTotalTests === 0;
  } catch (error) {
    console.error(`${name}: no results (${error.message})`);
    broken = true;
  }
  broken ||= status !== 0;
  console.log(`── ${name}: ${Math.round((Date.now() - started) / 1000)} s`);
}

suite('unit-parity-server', [vitest, 'run']);
must(process.execPath, ['test/ui/setup.mjs']);
must('npm', ['run', '--silent', 'package']);
suite('ui', [vitest, 'run', '--config', 'test/ui/vitest.config.mts']);

const { passed, failed, skipped } = totals;
console.log(`\n${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
process.exit(broken || failed > 0 ? 1 : 0);
