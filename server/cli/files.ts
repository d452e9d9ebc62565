/** rm and verify: what is done with the files of an installed model. In this process; no server is needed. */
import { UsageError } from '../errors';
import { flanPaths } from '../paths';
import { ModelFiles } from '../runtime/model-files';
import { humanBytes } from '../weights/small';
import { interrupt } from './interrupt';
import { type Command, modelPath } from './options';
import { type Output, showProgress } from './output';

export async function remove(command: Command, output: Output): Promise<void> {
  const removed = await new ModelFiles(flanPaths()).remove(onlyModel(command));
  if (command.json) output.json(removed);
  else output.lines([`Removed ${removed.name}: ${humanBytes(removed.freedBytes)} are free again.`]);
}

export async function verify(command: Command, output: Output): Promise<void> {
  const stop = interrupt();
  try {
    const files = new ModelFiles(flanPaths());
    const verified = await files.verify(modelPath(onlyModel(command)), showProgress(output), stop.token);
    if (!verified.ok) process.exitCode = 1;
    if (command.json) {
      output.json(verified);
      return;
    }
    output.lines(
      verified.files.map(({ path, bytes, problem }) => {
        return `${path}  ${humanBytes(bytes)}  ${problem === undefined ? 'as it was' : `DAMAGED: ${problem}`}`;
      }),
    );
    if (!verified.ok)
      output.note(`${verified.name} is damaged. Install it again: flan rm ${verified.name}, flan pull.`);
  } finally {
    stop.dispose();
  }
}

function onlyModel(command: Command): string {
  const [model, ...others] = command.positionals;
  if (model === undefined || model === '' || others.length > 0) {
    throw new UsageError(`${command.name} needs the name of one installed model. See: flan models`);
  }
  return model;
}
