/** The command line on the same FLAN_HOME as a workbench: the same server, so the same model on the same engine. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { RunResult } from '../../../server/protocol';
import { ROOT, type Workbench } from './workbench';

export async function cli(workbench: Workbench, ...args: string[]): Promise<RunResult> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(ROOT, 'dist', 'cli.js'), ...args, '--json'], {
    cwd: workbench.workspace,
    env: { ...process.env, FLAN_HOME: workbench.flanHome },
  });
  return JSON.parse(stdout);
}
