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
import { departures, forced, scoresInRows } from './steps';

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
  const { promptIds, targets } = recorded;
  const result = recorded[weights];
  const { hidden, logits } = await forced(engine, promptIds, targets);
  const prefix = `${model}/${recorded.name}/${weights}`;
  expect(relativeError(hidden, tensors.get(`${prefix}/hidden`)), 'encoder output').toBeLessThan(tolerance(form));
  expect(relativeError(logits, tensors.get(`${prefix}/logits`)), 'logits').toBeLessThan(tolerance(form));

  // A log-probability moves by at most twice what the logits do; the largest of these models' logits are below 5.
  const ofLogprobs = 10 * tolerance(form);
  const { logprobs } = await scoreAnswer(engine, promptIds, targets);
  for (const [i, logprob] of result.logprobs.entries())
    expect(Math.abs((logprobs[i] ?? NaN) - logprob)).toBeLessThan(ofLogprobs);

  const greedy = await generate(engine, promptIds, { kind: 'greedy', maxNewTokens: 24 });
  const parted = parting(greedy.ids, result.greedy);
  const largest = logits.reduce((most, value) => Math.max(most, Math.abs(value)), 0);
  // Logits that differ by less than the tolerance have no right order.
  const close = 2 * tolerance(form) * largest;
  if (parted !== undefined) expect(parted.gap, `greedy ids part at ${parted.at}`).toBeLessThan(close);
  else expect(greedy.ids).toEqual(result.greedy.ids);
  // And every step of the recorded answer, also behind the place where the two part.
  for (const { at, ahead } of await departures(engine, promptIds, result.greedy.ids))
    expect(ahead, `step ${at} of the recorded answer`).toBeLessThan(close);

  const beams = await generate(engine, promptIds, { kind: 'beam', beams: 4, maxNewTokens: 24 });
  expect(beams.ids).toEqual(result.beams[0]?.ids);
  expect(Math.abs(beams.logprob / beams.ids.length - (result.beams[0]?.score ?? NaN))).toBeLessThan(ofLogprobs);
  if (provider === 'webgpu' && recorded.name !== 'len5') return; // More shapes, more seconds of compiling.
  // All four recorded beams at once, through reordered and shortened caches.
  const scores = await scoresInRows(
    engine,
    promptIds,
    result.beams.map(({ ids }) => ids),
  );
  for (const [i, { score }] of result.beams.entries())
    expect(Math.abs((scores[i] ?? NaN) - score), `beam ${i} in a row of its own`).toBeLessThan(ofLogprobs);
}
