/**
 * The forms of the family through the whole path: a repository on a hub of this machine, downloaded and converted, its
 * tokenizer made from the files that such repositories have, the prompt in the words of its model, the answer of the
 * engine; against values that an independent implementation recorded (reference/make_family.py).
 */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../server/engine/engine';
import { createOnnxEngine } from '../../server/engine/onnx/engine';
import type { TaskModel } from '../../server/tasks/model';
import { profileFor } from '../../server/tasks/profiles';
import { runTask } from '../../server/tasks/run';
import { TextCodec } from '../../server/text/codec';
import { pullModel } from '../../server/weights/hub/pull';
import { resolveWeights } from '../../server/weights/store';
import { HubStandIn } from '../support/hub';
import { parting } from './compare';
import { type Greedy, root } from './recorded';

interface Case {
  readonly task: 'explain' | 'summarize' | 'ask';
  readonly text: string;
  readonly question?: string;
  readonly promptIds: readonly number[];
  readonly top: readonly (readonly [number, number])[];
  readonly greedy: Greedy;
  readonly answer?: string;
}
const fixtures = join(root, 'test', 'fixtures');
const recorded = JSON.parse(readFileSync(join(fixtures, 'family', 'recorded.json'), 'utf8')) as Record<string, Case[]>;

/** Each under the name of the model whose form it has: how it is asked is chosen by that. */
const REPOSITORIES = {
  mt5: { repository: 'google/mt5-small', tokenizer: 'mt5' },
  codet5: { repository: 'Salesforce/codet5-base-multi-sum', tokenizer: 'codet5' },
  ul2: { repository: 'google/ul2', tokenizer: 't5' },
} as const;
/** Logits of int8 activations of 16 bits against float64. */
const TOLERANCE = 5e-4;

const home = mkdtempSync(join(tmpdir(), 'flan-family-'));
let hub: HubStandIn;
beforeAll(async () => {
  hub = await HubStandIn.start();
});
afterAll(async () => {
  await hub.close();
  rmSync(home, { recursive: true, force: true });
});

describe.each(Object.entries(REPOSITORIES))('%s', (form, { repository, tokenizer }) => {
  const cases = recorded[form] ?? [];
  let engine: Engine;
  let model: TaskModel;

  beforeAll(async () => {
    const published = join(home, 'published', form);
    cpSync(join(fixtures, 'family', form), published, { recursive: true });
    cpSync(join(fixtures, 'tokenizers', tokenizer), published, { recursive: true });
    hub.add(repository, published);
    const modelsDir = join(home, 'models');
    const { dir } = await pullModel({
      model: repository,
      modelsDir,
      hubUrl: hub.url,
      env: { HF_HOME: join(home, 'no-cache') },
      signal: new AbortController().signal,
      onProgress: () => {},
    });
    expect(readdirSync(dir)).toContain('model.int8.safetensors');
    expect(readdirSync(dir).filter((name) => name.endsWith('.bin'))).toEqual([]);
    const { file, config } = await resolveWeights({ dir, format: 'int8', cacheDir: join(home, 'cache') });
    engine = await createOnnxEngine({ provider: 'cpu', file, config });
    const codec = await TextCodec.open(dir);
    const profile = profileFor(repository, config);
    model = { name: form, engine, codec, profile, demo: false, weights: 'int8', loadMs: 0 };
  });
  afterAll(() => engine?.dispose());

  for (const { task, text, question, promptIds, top, greedy, answer } of cases) {
    it(`${task}: the recorded prompt, logits and answer`, async () => {
      const run = {
        task,
        text,
        ...(question === undefined ? {} : { question }),
        languageId: form === 'codet5' ? 'python' : 'plaintext',
      };
      const shown: string[] = [];
      const result = await runTask(
        model,
        { ...run, maxNewTokens: 24 },
        {
          onProgress: (progress) => progress.kind === 'text' && shown.push(progress.append),
        },
      );
      expect(result.promptIds).toEqual(promptIds);
      expect(result.read.complete).toBe(true);

      const memory = await engine.encode(Int32Array.from(promptIds));
      const decoder = await engine.decoder(memory, 1, 1);
      const { logits } = await decoder.step(Int32Array.of(engine.config.decoderStartId), 1, { kind: 'logits' });
      decoder.dispose();
      memory.dispose();
      const largest = Math.abs(top[0]?.[1] ?? 1);
      for (const [id, logit] of top)
        expect(Math.abs((logits?.[id] ?? Number.NaN) - logit) / largest).toBeLessThan(TOLERANCE);

      // Random weights like to repeat themselves: there the task stops, before what was recorded does.
      const ids = result.repeated === true ? greedy.ids.slice(0, result.ids.length) : greedy.ids;
      const parted = parting(result.ids, { ...greedy, ids });
      // Logits that differ by less than the tolerance have no right order.
      if (parted !== undefined) expect(parted.gap, `ids part at ${parted.at}`).toBeLessThan(2 * TOLERANCE * largest);
      else if (answer !== undefined && result.repeated !== true)
        expect(result.text).toBe(answer.replace(/\ufffd+$/, '').trim());
      expect(shown.join('')).toBe(result.text);
      expect(result.substitutions.filter(({ as }) => as === null)).toEqual([]);
    });
  }
});
