/** models: what is installed, and where more would go. Reads folders only; no server is needed. */
import { UsageError } from '../errors';
import { flanPaths } from '../paths';
import type { ModelInfo } from '../protocol';
import { installedModels } from '../runtime/models';
import { humanBytes } from '../weights/small';
import type { Command } from './options';
import type { Output } from './output';

export async function listModels(command: Command, output: Output): Promise<void> {
  if (command.positionals.length > 0) throw new UsageError('models takes no arguments. See: flan models --help');
  const paths = flanPaths();
  const skipped: string[] = [];
  const models = await installedModels(paths, (dir, error) => {
    skipped.push(`Not listed: ${dir}: ${error instanceof Error ? error.message : String(error)}`);
  });
  if (command.json) {
    output.json(models);
    return;
  }
  const width = Math.max(0, ...models.map(({ name }) => name.length));
  output.lines(models.map((model) => describe(model, width)));
  for (const line of skipped) output.note(line);
  output.note(`Models are folders in ${paths.models}`);
}

function describe({ name, dir, bytes, form, demo, parameters }: ModelInfo, width: number): string {
  const kind = demo
    ? 'built-in demonstration model'
    : form === 'original'
      ? 'original, converted at first use'
      : 'int8';
  return `${name.padEnd(width)}  ${count(parameters).padStart(6)}  ${humanBytes(bytes).padStart(7)}  ${kind}  ${dir}`;
}

function count(parameters: number): string {
  return parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)} B` : `${Math.round(parameters / 1e6)} M`;
}
