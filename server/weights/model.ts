/** Opens a model folder, original or pre-quantized, as a source of what its weight file needs. */
import { createHash } from 'node:crypto';
import { stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import type { WeightFormat } from '../engine/engine';
import { Checkpoint, formOf, hasOriginal, INT8_FILE, type TensorSource } from './checkpoint';
import { modelTypeOf, parseConfig, rawConfig, readRawConfig, type T5Config } from './config';
import { DequantizedFile } from './dequantized';
import type { TensorSpec } from './layout';
import { type OutputRule, outputRule } from './output';
import { planOf, type WeightPlan } from './plan';
import type { CancelSignal } from './small';

/** A model that is open for reading. */
export interface OpenModel {
  readonly config: T5Config;
  readonly plan: WeightPlan;
  readonly source: TensorSource;
  /** What is read for each tensor of the plan, in its order: the output layer may come from elsewhere. */
  readonly wanted: readonly TensorSpec[];
  readonly output: OutputRule | undefined;
  readonly identity: string;
  /** When the newest of its files was last changed, in milliseconds. */
  readonly changedMs: number;
  readonly notes: string[];
}

/** Opens a model to make a weight file of it. The caller closes its `source`. Throws as `convertCheckpoint`. */
export async function openModel(dir: string, format: WeightFormat, signal?: CancelSignal): Promise<OpenModel> {
  const raw = rawConfig(await readRawConfig(dir));
  modelTypeOf(raw);
  const configMs = (await stat(join(dir, 'config.json'))).mtimeMs;
  // The original, where both are there, is the better source of fp32.
  if ((await formOf(dir)) === 'pre-quantized' && !(format === 'fp32' && (await hasOriginal(dir)))) {
    const source = await DequantizedFile.open(join(dir, INT8_FILE), signal);
    const stored = source.file.config;
    const config = { ...parseConfig(raw, { lmHead: !stored.tied }), tied: stored.tied };
    const plan = planOf(config, format);
    const notes = ['Made from int8 weights: fp32 values that are no finer than those.'];
    const changedMs = Math.max(configMs, source.file.changedMs);
    const identity = source.file.sha256;
    return { config, plan, source, wanted: plan.specs, output: undefined, identity, changedMs, notes };
  }
  return openOriginal(raw, await Checkpoint.open(dir), configMs, format, signal);
}

/**
 * An original checkpoint that is open already, wherever its files lie, with its `config.json` as an object.
 * `changedMs`: when that file was last changed. Closes the checkpoint if it throws, as `convertCheckpoint` does.
 */
export async function openOriginal(
  raw: ReturnType<typeof rawConfig>,
  checkpoint: Checkpoint,
  configMs: number,
  format: WeightFormat,
  signal?: CancelSignal,
): Promise<OpenModel & { readonly source: Checkpoint }> {
  const notes: string[] = [];
  try {
    const modelType = modelTypeOf(raw);
    const rule = (lmHead: boolean) => JSON.stringify(outputRule(raw, modelType, 1, { lmHead }));
    // Only where config.json leaves it open are two large matrices compared.
    const has = { lmHead: rule(true) !== rule(false) && (await checkpoint.outputIsItsOwn(signal)) };
    const config = parseConfig(raw, has, notes);
    const output = outputRule(raw, modelType, config.dModel, has);
    const plan = planOf(config, format);
    const wanted = plan.specs.map((spec) => (spec.name === 'lm_head.weight' ? { ...spec, name: output.from } : spec));
    const changedMs = Math.max(configMs, ...checkpoint.files.map((file) => file.mtimeMs));
    return { config, plan, source: checkpoint, wanted, output, identity: identityOf(checkpoint), changedMs, notes };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** What a checkpoint is recognized by: names, sizes and headers of its files. The same on every machine. */
export function identityOf(checkpoint: Checkpoint): string {
  const hash = createHash('sha256');
  for (const file of checkpoint.files) hash.update(`${basename(file.path)} ${file.fileBytes} ${file.headerHash}\n`);
  return hash.digest('hex');
}
