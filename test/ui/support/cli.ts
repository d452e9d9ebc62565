/** The command line on the same FLAN_HOME as a workbench: the same server, so the same model on the same engine. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { RunResult } from '../../../server/protocol';
import { ROOT, type Workbench } from './workbench';

export function cli(workbench: Workbench, ...args: string[]): Promise<RunResult> {
  return runCli(workbench, ...args);
}

/** For commands with another result. */
export async function runCli<Result>(workbench: Workbench, ...args: string[]): Promise<Result> {
  return JSON.parse(await output(workbench, [...args, '--json']));
}

/** What the command prints for people. */
export async function cliLines(workbench: Workbench, ...args: string[]): Promise<string[]> {
  return (await output(workbench, args)).trim().split('\n');
}

async function output(workbench: Workbench, args: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, 'dist', 'cli.js'), ...args], {
    cwd: workbench.workspace,
    env: { ...process.env, FLAN_HOME: workbench.flanHome },
  });
  return stdout;
}
