/**
 * Every form of the architecture through the whole path: a repository on a hub of this machine with safetensors, or with a
 * PyTorch file whose matrices are transposed in their storages, pulled, converted while it arrives, and answered with;
 * against values that transformers recorded for the same int8 weights.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { createOnnxEngine } from '../../server/engine/onnx/engine';
import { generate } from '../../server/generate/generate';
import { pullModel } from '../../server/weights/hub/pull';
import { resolveWeights } from '../../server/weights/store';
import { HubStandIn } from '../support/hub';
import { asTorchFile } from '../support/torch_copy';
import { parting, relativeError } from './compare';
import { checkpointDir, recordedTensors, smallModels } from './recorded';
import { forced } from './steps';

/** As in small.test.ts, for int8 on the CPU. */
const TOLERANCE = 5e-4;
const home = mkdtempSync(join(tmpdir(), 'flan-pulled-'));
const tensors = recordedTensors('small');
let hub: HubStandIn;
beforeAll(async () => {
  hub = await HubStandIn.start();
});
afterAll(async () => {
  await hub.close();
  rmSync(home, { recursive: true, force: true });
});

const weightsIn = (dir: string) =>
  readdirSync(dir)
    .filter((name) => name.endsWith('.safetensors'))
    .map((name) => readFileSync(join(dir, name)));

describe.each(Object.entries(smallModels()))('%s', (model, { cases }) => {
  it.each(['safetensors', 'bin'])('%s: pulled, its logits and answers are the recorded ones', async (form) => {
    const published = join(home, 'published', `${model}-${form}`);
    mkdirSync(published, { recursive: true });
    const source = checkpointDir(model);
    if (form === 'safetensors') cpSync(source, published, { recursive: true });
    else {
      cpSync(join(source, 'config.json'), join(published, 'config.json'));
      writeFileSync(join(published, 'pytorch_model.bin'), asTorchFile(weightsIn(source), { turned: true }));
    }
    const repository = `google/${model}-${form}`;
    hub.add(repository, published);
    const { dir } = await pullModel({
      ...{ model: repository, modelsDir: join(home, 'models'), hubUrl: hub.url, env: { HF_HOME: join(home, 'none') } },
      signal: new AbortController().signal,
      onProgress: () => {},
    });
    expect(readdirSync(dir).filter((name) => /\.bin$|^model(-|\.safe)/.test(name))).toEqual([]);
    const { file, config } = await resolveWeights({ dir, format: 'int8', cacheDir: join(home, 'cache') });
    const engine = await createOnnxEngine({ provider: 'cpu', file, config });
    try {
      expect(cases.length).toBeGreaterThan(0);
      for (const { name, promptIds, targets, int8 } of cases) {
        const { logits } = await forced(engine, promptIds, targets);
        expect(relativeError(logits, tensors.get(`${model}/${name}/int8/logits`)), name).toBeLessThan(TOLERANCE);
        const { ids } = await generate(engine, promptIds, { kind: 'greedy', maxNewTokens: 24 });
        const parted = parting(ids, int8.greedy);
        const largest = logits.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
        // Logits that differ by less than the tolerance have no right order.
        if (parted !== undefined) expect(parted.gap, `ids part at ${parted.at}`).toBeLessThan(2 * TOLERANCE * largest);
      }
    } finally {
      await engine.dispose();
    }
  });
});
