/**
 * The command line: `flan COMMAND …`. Tasks are asked of the server, which keeps the model loaded; converting, checking
 * and measuring run in this process. Exit codes: 0 done, 1 failed, 2 wrong usage.
 */
import { version } from '../package.json';
import { helpText } from './cli/help';
import { type Command, parse } from './cli/options';
import { Output } from './cli/output';
import { FlanError, UsageError } from './errors';

async function run(command: Command, output: Output): Promise<void> {
  // Each command's code is read when it is used: the tasks answer fast only without the engines' libraries.
  switch (command.name) {
    case 'explain':
    case 'summarize':
    case 'ask':
    case 'generate':
      return (await import('./cli/tasks')).runTask(command, output);
    case 'score':
      return (await import('./cli/score')).score(command, output);
    case 'run':
      return (await import('./cli/run')).runSet(command, output);
    case 'models':
      return (await import('./cli/models')).listModels(command, output);
    case 'status':
      return (await import('./cli/serving')).showStatus(command, output);
    case 'stop':
      return (await import('./cli/serving')).stopServer(command, output);
    case 'convert':
      return (await import('./cli/convert')).convert(command, output);
    case 'doctor':
      return (await import('./cli/doctor')).doctor(command, output);
    case 'bench':
      return (await import('./cli/bench')).bench(command, output);
    case 'pull':
      return (await import('./cli/pull')).pull(command, output);
    case 'rm':
      return (await import('./cli/files')).remove(command, output);
    case 'verify':
      return (await import('./cli/files')).verify(command, output);
  }
}

async function main(args: readonly string[]): Promise<void> {
  let output = new Output(false);
  try {
    const parsed = parse(args);
    if (parsed.kind === 'help') return output.lines([helpText(parsed.of)]);
    if (parsed.kind === 'version') return output.lines([version]);
    output = new Output(parsed.command.json);
    await run(parsed.command, output);
  } catch (error) {
    // An error without a name is a fault of this program: its stack helps whoever looks for it.
    const message = error instanceof FlanError ? error.message : `internal fault: ${(error as Error).stack ?? error}`;
    output.error(message);
    process.exitCode = error instanceof UsageError ? 2 : 1;
  }
}

void main(process.argv.slice(2));
