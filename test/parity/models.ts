/** Weight files of the recorded models, made once and kept in .cache/parity/, and engines over them. */
import { join } from 'node:path';
import type { Engine } from '../../server/engine/engine';
import { createOnnxEngine, type OnnxEngineOptions } from '../../server/engine/onnx/engine';
import type { Provider } from '../../server/engine/onnx/session';
import { INT8_FILE } from '../../server/weights/checkpoint';
import { convertCheckpoint, convertFolder } from '../../server/weights/convert';
import { openWeightFile, type WeightFile } from '../../server/weights/file';
import { checkpointDir, root } from './recorded';

/** `dequantized`: the weights of the int8 file as float32. */
export type Form = 'fp32' | 'int8' | 'dequantized';

const starterDir = join(root, 'models', 'starter');
// Test files run at the same time, in processes of their own: each makes its own files.
const cache = join(root, '.cache', 'parity', process.env['VITEST_POOL_ID'] ?? '0');

export async function weightFile(model: string, form: Form): Promise<WeightFile> {
  if (model === 'starter' && form === 'int8') return openWeightFile(join(starterDir, INT8_FILE));
  const source = model === 'starter' ? starterDir : checkpointDir(model);
  const out = join(cache, model, `${form}.safetensors`);
  if (form !== 'dequantized' || model === 'starter') {
    const format = form === 'int8' ? 'int8' : 'fp32';
    return (await convertCheckpoint({ source, out, format, reuse: true })).file;
  }
  const quantized = join(cache, model, 'quantized');
  await convertFolder(source, quantized);
  return (await convertCheckpoint({ source: quantized, out, format: 'fp32', reuse: true })).file;
}

export async function openEngine(
  model: string,
  form: Form,
  provider: Provider,
  options: Partial<OnnxEngineOptions> = {},
): Promise<Engine> {
  const file = await weightFile(model, form);
  return createOnnxEngine({ provider, file, config: file.config, ...options });
}
