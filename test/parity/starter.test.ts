/**
 * The starter model against transformers on whole prompts, and int8 against float32 on the same dequantized weights.
 * The CPU runs all prompts. WebGPU on a software adapter is slow: FLAN_PARITY_PROVIDER=webgpu runs six.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Engine } from '../../server/engine/engine';
import { generate } from '../../server/generate/generate';
import { scoreAnswer } from '../../server/generate/score';
import { cosine, parting, relativeError } from './compare';
import { openEngine } from './models';
import { recordedTensors, type StarterPrompt, starterPrompts } from './recorded';

const provider = process.env['FLAN_PARITY_PROVIDER'] === 'webgpu' ? 'webgpu' : 'cpu';
const EXACT = 1e-4;
const MAX_NEW_TOKENS = 64;
/** On a software adapter, where a token takes about 0.1 s. */
const WEBGPU_PROMPTS = 4;
const tensors = recordedTensors('starter');
const prompts = starterPrompts();

describe.runIf(provider === 'cpu')('float32 on cpu', () => {
  let engine: Engine;
  beforeAll(async () => {
    engine = await openEngine('starter', 'dequantized', 'cpu');
  });
  afterAll(() => engine.dispose());

  it('gives the recorded encoder outputs and first logits', async () => {
    for (const prompt of prompts) {
      const { hidden, logits } = await firstValues(engine, prompt);
      compareHidden(hidden, prompt, EXACT);
      compareTop(logits, prompt, EXACT);
      const whole = `${prompt.id}/logits`;
      if (tensors.names.includes(whole)) expect(relativeError(logits, tensors.get(whole)), whole).toBeLessThan(EXACT);
    }
  });

  it('gives the recorded greedy answers', async () => {
    for (const prompt of prompts) {
      const { ids } = await greedy(engine, prompt);
      const parted = parting(ids, prompt.greedy);
      if (parted !== undefined) expect(parted.gap, `${prompt.id} parts at ${parted.at}`).toBeLessThan(2e-3);
    }
  });

  it('gives the recorded answers of four beams', async () => {
    const recorded = prompts.filter(({ beams }) => beams !== undefined);
    expect(recorded.length).toBeGreaterThan(0);
    for (const prompt of recorded) {
      const { ids, logprob } = await generate(engine, prompt.promptIds, {
        kind: 'beam',
        beams: 4,
        maxNewTokens: MAX_NEW_TOKENS,
      });
      expect(ids, prompt.id).toEqual(prompt.beams?.[0]?.ids);
      expect(logprob / ids.length, prompt.id).toBeCloseTo(prompt.beams?.[0]?.score ?? NaN, 3);
    }
  });

  it('gives the recorded log-probabilities of given answers', async () => {
    await compareScores(engine, prompts, 1e-3);
  });
});

describe(`int8 on ${provider}`, () => {
  let engine: Engine;
  const chosen = provider === 'cpu' ? prompts : subset(prompts);
  beforeAll(async () => {
    engine = await openEngine('starter', 'int8', provider);
  });
  afterAll(() => engine.dispose());

  it('points where float32 points: first logits', async () => {
    const cosines: number[] = [];
    for (const prompt of chosen) {
      const { logits } = await firstValues(engine, prompt);
      const recorded = prompt.top.map(([, logit]) => logit);
      const computed = prompt.top.map(([id]) => logits[id] ?? NaN);
      expect(cosine(Float32Array.from(computed), Float32Array.from(recorded)), prompt.id).toBeGreaterThan(0.999);
      const whole = `${prompt.id}/logits`;
      if (tensors.names.includes(whole)) cosines.push(cosine(logits, tensors.get(whole)));
    }
    if (provider === 'cpu') expect(cosines.length).toBeGreaterThan(0);
    for (const value of cosines) expect(value).toBeGreaterThan(0.999);
    console.log(`int8 on ${provider}: lowest cosine of whole first logits ${Math.min(...cosines).toFixed(6)}`);
  });

  it('answers as float32 does', async () => {
    const parted: string[] = [];
    for (const prompt of chosen) {
      const { ids } = await greedy(engine, prompt);
      const difference = parting(ids, prompt.greedy);
      if (difference !== undefined) {
        parted.push(`${prompt.id} at token ${difference.at}, gap of the two best ${difference.gap.toFixed(4)}`);
      }
    }
    const equal = chosen.length - parted.length;
    console.log(`int8 on ${provider}: ${equal} of ${chosen.length} greedy answers are word for word float32's`);
    for (const line of parted) console.log(`  not: ${line}`);
    if (provider === 'cpu') expect(chosen.length).toBeGreaterThanOrEqual(100);
    expect(equal / chosen.length).toBeGreaterThanOrEqual(0.95);
  });

  it('scores given answers as float32 does', async () => {
    await compareScores(engine, chosen, 0.05);
  });
});

/** Short prompts, the median one, and one with a score. */
function subset(all: readonly StarterPrompt[]): StarterPrompt[] {
  const byLength = [...all].sort((a, b) => a.promptIds.length - b.promptIds.length);
  const scored = byLength.find(({ score }) => score !== undefined);
  const median = byLength.slice(byLength.length / 2).slice(0, 1);
  return [...new Set([...byLength.slice(0, WEBGPU_PROMPTS), ...median, ...(scored ? [scored] : [])])];
}

function greedy(engine: Engine, prompt: StarterPrompt) {
  return generate(engine, prompt.promptIds, { kind: 'greedy', maxNewTokens: MAX_NEW_TOKENS });
}

async function firstValues(
  engine: Engine,
  prompt: StarterPrompt,
): Promise<{ hidden: Float32Array; logits: Float32Array }> {
  const memory = await engine.encode(Int32Array.from(prompt.promptIds));
  const decoder = await engine.decoder(memory, 1, 1);
  const { logits } = await decoder.step(Int32Array.of(engine.config.decoderStartId), 1, { kind: 'logits' });
  const hidden = await memory.hidden();
  decoder.dispose();
  memory.dispose();
  if (logits === undefined) throw new Error('The engine gave no logits.');
  return { hidden, logits };
}

function compareHidden(hidden: Float32Array, prompt: StarterPrompt, tolerance: number): void {
  const norms = tensors.get(`${prompt.id}/hidden.norms`);
  const width = hidden.length / norms.length;
  const row = (i: number) => hidden.subarray(i * width, (i + 1) * width);
  const computed = norms.map((_, i) => Math.hypot(...row(i)));
  expect(relativeError(computed, norms), `${prompt.id} norms`).toBeLessThan(tolerance);
  expect(relativeError(row(0), tensors.get(`${prompt.id}/hidden.first`)), `${prompt.id} first`).toBeLessThan(tolerance);
  const last = tensors.get(`${prompt.id}/hidden.last`);
  expect(relativeError(row(norms.length - 1), last), `${prompt.id} last`).toBeLessThan(tolerance);
}

function compareTop(logits: Float32Array, prompt: StarterPrompt, tolerance: number): void {
  const recorded = Float32Array.from(prompt.top, ([, logit]) => logit);
  const computed = Float32Array.from(prompt.top, ([id]) => logits[id] ?? NaN);
  expect(relativeError(computed, recorded), `${prompt.id} top logits`).toBeLessThan(tolerance);
}

async function compareScores(engine: Engine, all: readonly StarterPrompt[], tolerance: number): Promise<void> {
  let compared = 0;
  for (const { id, promptIds, score } of all) {
    if (score === undefined) continue;
    const { logprobs } = await scoreAnswer(engine, promptIds, score.ids);
    // By token on average: one token that int8 rounds otherwise is no fault, a wrong mask or position is everywhere.
    const differences = score.logprobs.map((logprob, i) => Math.abs((logprobs[i] ?? NaN) - logprob));
    const mean = differences.reduce((sum, d) => sum + d, 0) / differences.length;
    expect(tolerance < 0.01 ? Math.max(...differences) : mean, id).toBeLessThan(tolerance);
    compared++;
  }
  expect(compared).toBeGreaterThan(0);
}
