/**
 * Every architecture of the family on small random checkpoints, against transformers. On the CPU with float32 weights
 * (the checkpoint's own, and the dequantized int8 ones) and with int8; on WebGPU, see webgpu.test.ts, with int8.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../server/engine/engine';
import { generate } from '../../server/generate/generate';
import { scoreAnswer } from '../../server/generate/score';
import { parting, relativeError } from './compare';
import { type Form, openEngine } from './models';
import { recordedTensors, type SmallCase, smallModels } from './recorded';

const provider = process.env['FLAN_PARITY_PROVIDER'] === 'webgpu' ? 'webgpu' : 'cpu';
/** Activations in float32: what is left is the order of additions. In int8 on the CPU they have 16 bits. */
const tolerance = (form: Form) => (form === 'int8' && provider === 'cpu' ? 5e-4 : 1e-4);
const tensors = recordedTensors('small');
/** On WebGPU without a GPU every new shape costs seconds of shader compiling: one short and one long prompt a model. */
const chosen = (cases: readonly SmallCase[]) =>
  provider === 'cpu' ? cases : cases.filter(({ name }) => name === 'len5' || name === 'len127');
const forms: Form[] = provider === 'cpu' ? ['fp32', 'dequantized', 'int8'] : ['int8'];

for (const [model, { cases }] of Object.entries(smallModels())) {
  for (const form of forms) {
    describe(`${model}, ${form} on ${provider}`, () => {
      let engine: Engine;
      beforeAll(async () => {
        engine = await openEngine(model, form, provider);
      });
      afterAll(() => engine.dispose());
      for (const recorded of chosen(cases)) {
        it(`agrees on ${recorded.name}`, () => agrees(engine, model, form, recorded));
      }
    });
  }
}

async function agrees(engine: Engine, model: string, form: Form, recorded: SmallCase): Promise<void> {
  const weights = form === 'fp32' ? 'fp32' : 'int8';
  const result = recorded[weights];
  const { hidden, logits } = await firstValues(engine, recorded);
  const prefix = `${model}/${recorded.name}/${weights}`;
  expect(relativeError(hidden, tensors.get(`${prefix}/hidden`)), 'encoder output').toBeLessThan(tolerance(form));
  expect(relativeError(logits, tensors.get(`${prefix}/logits`)), 'logits').toBeLessThan(tolerance(form));

  const { logprobs } = await scoreAnswer(engine, recorded.promptIds, recorded.targets);
  for (const [i, logprob] of result.logprobs.entries())
    expect(Math.abs((logprobs[i] ?? NaN) - logprob)).toBeLessThan(10 * tolerance(form));

  const greedy = await generate(engine, recorded.promptIds, { kind: 'greedy', maxNewTokens: 24 });
  const parted = parting(greedy.ids, result.greedy);
  const largest = logits.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  // Logits that differ by less than the tolerance have no right order.
  if (parted !== undefined)
    expect(parted.gap, `greedy ids part at ${parted.at}`).toBeLessThan(2 * tolerance(form) * largest);
  else expect(greedy.ids).toEqual(result.greedy.ids);

  const beams = await generate(engine, recorded.promptIds, { kind: 'beam', beams: 4, maxNewTokens: 24 });
  expect(beams.ids).toEqual(result.beams[0]?.ids);
}

/** Encoder output, and the logits at every position of the forced answer. */
async function firstValues(
  engine: Engine,
  recorded: SmallCase,
): Promise<{ hidden: Float32Array; logits: Float32Array }> {
  const memory = await engine.encode(Int32Array.from(recorded.promptIds));
  const decoder = await engine.decoder(memory, 1, recorded.targets.length);
  const fed = Int32Array.from([engine.config.decoderStartId, ...recorded.targets.slice(0, -1)]);
  const { logits } = await decoder.step(fed, fed.length, { kind: 'logits' });
  const hidden = await memory.hidden();
  decoder.dispose();
  memory.dispose();
  if (logits === undefined) throw new Error('The engine gave no logits.');
  return { hidden, logits };
}
