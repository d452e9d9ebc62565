/** models: what is installed, or with --available what could be. Reads folders and looks for devices; no server is needed. */
import { UsageError } from '../errors';
import { flanPaths } from '../paths';
import type { AvailableModel, ModelInfo } from '../protocol';
import { availableModels } from '../runtime/available';
import { installedModels } from '../runtime/models';
import { unfinishedPulls } from '../weights/hub/workspace';
import { humanBytes } from '../weights/small';
import type { Command } from './options';
import type { Output } from './output';

export async function listModels(command: Command, output: Output): Promise<void> {
  if (command.positionals.length > 0) throw new UsageError('models takes no arguments. See: flan models --help');
  if (command.has('available')) return listAvailable(command, output);
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
  for (const { name, model, revision, bytes, totalBytes, process } of await unfinishedPulls(paths.models)) {
    const asked = revision === 'main' ? model : `${model}@${revision}`;
    const goesOn = process === undefined ? `flan pull ${asked} goes on` : `process ${process} works on it`;
    output.note(`Not finished: ${name}, ${humanBytes(bytes)} of ${humanBytes(totalBytes)}; ${goesOn}.`);
  }
  output.note(`Models are folders in ${paths.models}`);
}

function describe({ name, dir, bytes, form, demo, parameters, changedMs }: ModelInfo, width: number): string {
  const kind = demo
    ? 'built-in demonstration model'
    : form === 'original'
      ? 'original, converted at first use'
      : 'int8';
  const size = `${count(parameters).padStart(6)}  ${humanBytes(bytes).padStart(7)}`;
  return `${name.padEnd(width)}  ${size}  ${changedMs === undefined ? '' : day(changedMs)}  ${kind}  ${dir}`;
}

async function listAvailable(command: Command, output: Output): Promise<void> {
  const models = await availableModels(flanPaths());
  if (command.json) {
    output.json(models);
    return;
  }
  output.lines(models.flatMap(describeAvailable));
  output.note('Install one: flan pull REPOSITORY. Other T5 repositories of the hub can be tried as well.');
}

/** Some lines, the first with what one chooses by. Memory is that of the CPU, with 512 and 2048 tokens to read. */
function describeAvailable(model: AvailableModel): string[] {
  const { repository, parameters, downloadBytes, int8Bytes, memory, engines, licence, window, tasks } = model;
  const marks = [model.recommended && 'recommended', model.installed && 'installed'].filter(Boolean).join(', ');
  const fits = engines.map(({ engine, fits }) => `${engine} ${fits ? 'yes' : 'no'}`);
  const places = [...fits, ...(model.diskFits ? [] : ['disk no'])].join(', ');
  const size = `${count(parameters)} parameters, download ${humanBytes(downloadBytes)}, int8 ${humanBytes(int8Bytes)}`;
  const [short, long] = memory.cpu.map(humanBytes);
  return [
    `${repository}${marks === '' ? '' : `  (${marks})`}`,
    `  ${size}, memory ${short} to ${long}; fits: ${places}`,
    `  reads ${window} tokens; ${tasks.join(', ')}; ${licence}`,
    ...(model.note === undefined ? [] : [`  ${model.note.en}`]),
    `  good: ${model.good.en}`,
    `  bad:  ${model.bad.en}`,
  ];
}

function count(parameters: number): string {
  return parameters >= 1e9 ? `${(parameters / 1e9).toFixed(1)} B` : `${Math.round(parameters / 1e6)} M`;
}

/** The day of a time, in the time zone of this machine: 2026-11-24. */
function day(ms: number): string {
  const date = new Date(ms);
  return [date.getFullYear(), date.getMonth() + 1, date.getDate()].map((n) => String(n).padStart(2, '0')).join('-');
}
