/**
 * Parity at full size: the CUDA engine against transformers in float32 on the same (dequantized) random weights.
 *
 *   node dist/gpu/full_size.cjs write FOLDER [LAYERS]        the weight file of Flan-UL2's shapes; prints its path
 *   python3 test/gpu/full_size.py FILE OUT.json              the reference
 *   node dist/gpu/full_size.cjs check FOLDER OUT.json [LAYERS]
 */
import { readFileSync } from 'node:fs';
import { createCudaEngine, probeCuda } from '../../server/engine/cuda/engine';
import { generate } from '../../server/generate/generate';
import type { T5Config } from '../../server/weights/config';
import { FLAN_UL2 } from '../fixtures/family';
import { parting } from '../parity/compare';
import { noiseFile } from './noise';

/** Activations have 11 bits where the reference has 24, and 64 sub-layers add up. */
const TOLERANCE = 1e-2;

interface Spread {
  readonly at: readonly number[];
  readonly values: readonly number[];
  readonly largest: number;
}

interface Case {
  readonly promptIds: readonly number[];
  readonly hidden: Spread;
  readonly logits: Spread;
  readonly ids: readonly number[];
  /** Best logit minus the second best, at every step. */
  readonly gaps: readonly number[];
}

function error(actual: Float32Array, { at, values, largest }: Spread): number {
  const off = at.map((index, i) => Math.abs((actual[index] ?? NaN) - (values[i] ?? NaN)));
  return Math.max(...off) / largest;
}

async function check(config: T5Config, folder: string, reference: string): Promise<boolean> {
  const probe = probeCuda();
  if (!probe.ok) {
    console.log(`Nothing was run: ${probe.reason}`);
    return true;
  }
  const cases = JSON.parse(readFileSync(reference, 'utf8')) as readonly Case[];
  const engine = await createCudaEngine({ file: noiseFile(config, folder), config });
  let ok = true;
  for (const { promptIds, hidden, logits, ids, gaps } of cases) {
    const memory = await engine.encode(Int32Array.from(promptIds));
    const hiddenError = error(await memory.hidden(), hidden);
    const decoder = await engine.decoder(memory, 1, 1);
    const step = await decoder.step(Int32Array.of(config.decoderStartId), 1, { kind: 'logits' });
    const logitsError = error(step.logits ?? new Float32Array(0), logits);
    decoder.dispose();
    memory.dispose();
    // No end token: the reference writes on as well.
    const decoding = { kind: 'greedy', maxNewTokens: ids.length } as const;
    const answer = await generate(engineWithoutEnd(engine), promptIds, decoding);
    const parted = parting(answer.ids, { ids, gaps });
    // Where the two best logits are closer than the error, either is right.
    const tie = parted === undefined || parted.gap < 2 * logitsError * logits.largest;
    ok &&= hiddenError < TOLERANCE && logitsError < TOLERANCE && tie;
    const same = parted === undefined ? `all ${ids.length} ids equal` : `equal up to ${parted.at}, gap ${parted.gap}`;
    console.log(
      `${promptIds.length} tokens: encoder ${hiddenError.toExponential(1)}, logits ${logitsError.toExponential(1)}, ${same}`,
    );
  }
  await engine.dispose();
  return ok;
}

/** The engine with a config whose end token is never written. */
function engineWithoutEnd(engine: Awaited<ReturnType<typeof createCudaEngine>>): typeof engine {
  return {
    info: engine.info,
    config: { ...engine.config, eosId: -1 },
    encode: (ids, signal) => engine.encode(ids, signal),
    decoder: (memory, rows, capacity) => engine.decoder(memory, rows, capacity),
    dispose: () => engine.dispose(),
  };
}

async function main(): Promise<void> {
  const [what, folder = '', ...rest] = process.argv.slice(2);
  const reference = what === 'check' ? rest.shift() : undefined;
  const layers = Number(rest[0] ?? FLAN_UL2.decoderLayers);
  const config = { ...FLAN_UL2, encoderLayers: layers, decoderLayers: layers };
  if (reference === undefined) console.log(noiseFile(config, folder).path);
  else process.exitCode = (await check(config, folder, reference)) ? 0 : 1;
}

void main();
