/** doctor: what this machine can run and why not; with --model, what a folder holds and how exact its int8 form is. */
import { join, resolve } from 'node:path';
import { FlanError, UsageError } from '../errors';
import { flanPaths, type Paths } from '../paths';
import { type DoctorItem, Method, type Status } from '../protocol';
import { doctorItems } from '../runtime/doctor';
import { modelFolders } from '../runtime/models';
import { INT8_FILE } from '../weights/checkpoint';
import { readConfig } from '../weights/config';
import { verifyWeightFile } from '../weights/file';
import { humanBytes } from '../weights/small';
import { modelInfo, worstErrors } from '../weights/store';
import { ServerClient } from './client';
import { type Command, modelPath } from './options';
import type { Output } from './output';

/** Enough to see which layers suffer; the rest is milder. */
const SHOWN_ERRORS = 10;

export async function doctor(command: Command, output: Output): Promise<void> {
  if (command.positionals.length > 0)
    throw new UsageError('doctor takes no arguments but options. See: flan doctor --help');
  const paths = flanPaths();
  const model = command.value('model');
  if (model !== undefined) return inspect(model, paths, command, output);
  const items = [...(await doctorItems(paths)), await serverItem()];
  if (command.json) {
    output.json({ items: items.map(({ what, ok, detail }) => ({ what, ok, detail })) });
    return;
  }
  const width = Math.max(...items.map(({ what }) => what.length));
  output.lines(items.map(({ what, ok, detail }) => `${ok ? 'ok' : 'no'}  ${what.padEnd(width)}  ${detail}`));
}

async function serverItem(): Promise<DoctorItem> {
  try {
    const client = await ServerClient.find();
    if (client === undefined)
      return { what: 'server', ok: true, detail: 'not running; it is started when it is needed' };
    const { pid, state, model, device } = await client
      .request<Status>(Method.status, null)
      .finally(() => client.close());
    const loaded = model === undefined ? 'nothing loaded' : `${model} on ${device ?? 'its device'}`;
    return { what: 'server', ok: true, detail: `process ${pid}, ${state}, ${loaded}` };
  } catch (error) {
    if (!(error instanceof FlanError)) throw error;
    return { what: 'server', ok: false, detail: error.message };
  }
}

async function inspect(model: string, paths: Paths, command: Command, output: Output): Promise<void> {
  const [folder] = await modelFolders(paths, modelPath(model));
  if (folder === undefined) throw new FlanError('unknown-model', `There is no model '${model}'. See: flan models`);
  const dir = resolve(folder.dir);
  const notes: string[] = [];
  const config = await readConfig(dir, notes);
  const info = await modelInfo(dir, folder.demo);
  // Read whole and compared with its hash: a copy over a network or from a failing disk is found here.
  if (info.form === 'pre-quantized') await verifyWeightFile(join(dir, INT8_FILE));
  const errors = (await worstErrors(dir, paths.cache)).slice(0, SHOWN_ERRORS);
  if (command.json) {
    const worst = errors.map(([name, relativeRms, maxError]) => ({ name, relativeRms, maxError }));
    output.json({ ...info, name: folder.name, config, notes, worst });
    return;
  }
  const { encoderLayers, decoderLayers, dModel, activation, gated, tied } = config;
  output.lines([
    `${folder.name}: ${info.form}, ${humanBytes(info.bytes)}, ${(info.parameters / 1e6).toFixed(0)} M parameters`,
    `${config.modelType}, ${encoderLayers} + ${decoderLayers} layers of ${dModel}, ${gated ? 'gated ' : ''}${activation}, ${tied ? 'tied' : 'own'} output layer`,
    ...(info.form === 'pre-quantized' ? ['The weight file is whole: its SHA-256 is right.'] : []),
    ...notes,
    ...(errors.length === 0
      ? ['No int8 form was made yet: it is made at first use, or by flan convert.']
      : ['Largest errors of the int8 form (relative root mean square, largest of one weight):']),
    ...errors.map(([name, rms, max]) => `  ${(rms * 100).toFixed(3)} %  ${max.toExponential(1)}  ${name}`),
  ]);
}
