/**
 * The whole CUDA engine on a card, against values recorded from transformers, and against itself. A program, not a vitest
 * file: it is bundled and runs on a bare GPU host (scripts/test-gpu.mjs). Prints one line a check; the exit code is 1 when
 * one failed.
 */

import { CudaDriver, i32, pointer } from '../../server/engine/cuda/driver';
import { createCudaEngine, probeCuda } from '../../server/engine/cuda/engine';
import { CudaError } from '../../server/engine/cuda/errors';
import { kernelImage } from '../../server/engine/cuda/images';
import type { Decoder, Engine, Memory, Pick } from '../../server/engine/engine';
import { OutOfMemoryError } from '../../server/engine/errors';
import { argmax, logSumExp, pickFrom } from '../../server/engine/pick';
import { CancelledError } from '../../server/errors';
import { generate } from '../../server/generate/generate';
import { uniform } from '../../server/generate/random';
import { scoreAnswer } from '../../server/generate/score';
import { cosine, parting, relativeError } from '../parity/compare';
import { weightFile } from '../parity/models';
import { recordedTensors, smallModels, starterPrompts } from '../parity/recorded';

/** Largest difference over the largest value. Activations have 11 bits where the reference has 24. */
const TOLERANCE = 1e-2;
/** Log-probabilities of the reference are off by the rounding of a whole network's activations. */
const LOGPROB_TOLERANCE = 5e-2;
const MAX_NEW_TOKENS = 64;
let failed = 0;
let passed = 0;

function check(name: string, ok: boolean, detail = ''): void {
  if (ok) passed++;
  else failed++;
  if (!ok || process.env['FLAN_GPU_VERBOSE']) console.log(`${ok ? 'ok  ' : 'FAIL'} ${name} ${detail}`);
}

/** `value` must be below `limit`; NaN fails. */
function below(name: string, value: number, limit: number): void {
  check(name, value < limit, `${value.toExponential(2)} of ${limit.toExponential(0)}`);
}

async function withDecoder<T>(
  engine: Engine,
  ids: readonly number[],
  rows: number,
  capacity: number,
  use: (decoder: Decoder, memory: Memory) => Promise<T>,
): Promise<T> {
  const memory = await engine.encode(Int32Array.from(ids));
  const decoder = await engine.decoder(memory, rows, capacity);
  try {
    return await use(decoder, memory);
  } finally {
    decoder.dispose();
    memory.dispose();
  }
}

async function smallCheckpoints(): Promise<void> {
  const tensors = recordedTensors('small');
  for (const [model, { cases }] of Object.entries(smallModels())) {
    const file = await weightFile(model, 'int8');
    const engine = await createCudaEngine({ file, config: file.config });
    let worst = 0;
    for (const recorded of cases) {
      const name = `${model}/${recorded.name}`;
      await withDecoder(engine, recorded.promptIds, 1, recorded.targets.length, async (decoder, memory) => {
        const fed = Int32Array.from([engine.config.decoderStartId, ...recorded.targets.slice(0, -1)]);
        const { logits } = await decoder.step(fed, fed.length, { kind: 'logits' });
        const errors = [
          relativeError(await memory.hidden(), tensors.get(`${name}/int8/hidden`)),
          relativeError(logits ?? new Float32Array(0), tensors.get(`${name}/int8/logits`)),
        ];
        below(`${name}: encoder output`, errors[0] ?? NaN, TOLERANCE);
        below(`${name}: logits`, errors[1] ?? NaN, TOLERANCE);
        worst = Math.max(worst, ...errors);
      });
      const { logprobs } = await scoreAnswer(engine, recorded.promptIds, recorded.targets);
      const off = recorded.int8.logprobs.map((logprob, i) => Math.abs(logprob - (logprobs[i] ?? NaN)));
      below(`${name}: log-probabilities`, Math.max(...off), LOGPROB_TOLERANCE);
      const greedy = await generate(engine, recorded.promptIds, { kind: 'greedy', maxNewTokens: 24 });
      const parted = parting(greedy.ids, recorded.int8.greedy);
      check(`${name}: greedy ids`, parted === undefined || parted.gap < 0.1, JSON.stringify(parted));
    }
    await engine.dispose();
    console.log(`${model}: ${cases.length} prompts, worst error ${worst.toExponential(2)}`);
  }
}

async function starter(): Promise<void> {
  const file = await weightFile('starter', 'int8');
  const { config } = file;
  const engine = await createCudaEngine({ file, config });
  const tensors = recordedTensors('starter');
  const prompts = starterPrompts();
  let same = 0;
  let beams = 0;
  let beamsSame = 0;
  for (const prompt of prompts) {
    await withDecoder(engine, prompt.promptIds, 1, 1, async (decoder, memory) => {
      const start = Int32Array.of(config.decoderStartId);
      const { logits = new Float32Array(0) } = await decoder.step(start, 1, { kind: 'logits' });
      const hidden = `${prompt.id}/hidden`;
      if (tensors.names.includes(hidden)) {
        const recorded = tensors.get(hidden);
        check(`${prompt.id}: encoder output`, cosine(await memory.hidden(), recorded) > 0.9999);
      }
      for (const [id, logit] of prompt.top)
        below(`${prompt.id}: logit ${id}`, Math.abs((logits[id] ?? NaN) - logit), 0.1);
    });
    const { ids } = await generate(engine, prompt.promptIds, { kind: 'greedy', maxNewTokens: MAX_NEW_TOKENS });
    const parted = parting(ids, prompt.greedy);
    if (parted === undefined) same++;
    else console.log(`${prompt.id}: parts at token ${parted.at}, where the two best logits are ${parted.gap} apart`);
    check(`${prompt.id}: greedy ids`, parted === undefined || parted.gap < 0.1, JSON.stringify(parted));
    if (prompt.beams) {
      beams++;
      const best = await generate(engine, prompt.promptIds, { kind: 'beam', beams: 4, maxNewTokens: MAX_NEW_TOKENS });
      if (best.ids.join() === prompt.beams[0]?.ids.join()) beamsSame++;
    }
    if (prompt.score) {
      const { logprobs } = await scoreAnswer(engine, prompt.promptIds, prompt.score.ids);
      const off = prompt.score.logprobs.map((logprob, i) => Math.abs(logprob - (logprobs[i] ?? NaN)));
      below(`${prompt.id}: log-probabilities`, Math.max(...off), 0.1);
    }
  }
  check('starter: beams', beamsSame >= beams - 1, `${beamsSame} of ${beams} as recorded`);
  console.log(
    `starter: ${same} of ${prompts.length} greedy answers, ${beamsSame} of ${beams} beam answers as recorded`,
  );
  await oneAndSeveral(engine, prompts[0]?.promptIds ?? []);
  await cancelling(engine);
  await engine.dispose();
}

/** What the card picks from logits is what the host picks from them; a draw near a limit may fall on either side. */
async function picking(engine: Engine, ids: readonly number[], tokens: readonly number[], logits: Float32Array) {
  const { vocabSize } = engine.config;
  await withDecoder(engine, ids, 1, 64, async (decoder) => {
    const pick = async (rule: Pick) => {
      await decoder.truncate(0);
      const [card, host] = [
        await decoder.step(Int32Array.from(tokens), tokens.length, rule),
        pickFrom(logits, vocabSize, rule),
      ];
      const off = card.logprobs.map((value, i) => Math.abs(value - (host.logprobs[i] as number)));
      const same = card.ids.filter((id, i) => id === host.ids[i]).length;
      return { same, of: host.ids.length, off: Math.max(...off) };
    };
    for (const count of [1, 8, 100]) {
      const { same, of, off } = await pick({ kind: 'top', count });
      check(`the best ${count}`, same === of && off < 1e-4, `${same} of ${of}, off by ${off}`);
    }
    let draws = 0;
    let equal = 0;
    for (let round = 0; round < 24; round++) {
      const uniforms = Float64Array.from(tokens, (_, i) => uniform(round, i));
      const filters = { topK: [0, 40, 5][round % 3] as number, topP: [1, 0.9, 0.5, 0.99][round % 4] as number };
      const { same, of } = await pick({ kind: 'sample', temperature: 0.5 + (round % 5) / 4, ...filters, uniforms });
      draws += of;
      equal += same;
    }
    console.log(`${equal} of ${draws} draws on the card are those of the host`);
    check('draws', equal >= draws * 0.99, `${equal} of ${draws}`);
  });
}

/** One row and several, one token and several, truncating and reordering: the same bits. */
async function oneAndSeveral(engine: Engine, ids: readonly number[]): Promise<void> {
  const { vocabSize, decoderStartId } = engine.config;
  const tokens = Array.from({ length: 21 }, (_, i) => (i === 0 ? decoderStartId : (i * 7919) % vocabSize));
  const singles: Float32Array[] = [];
  await withDecoder(engine, ids, 1, 64, async (decoder) => {
    for (const token of tokens) {
      const { logits = new Float32Array(0) } = await decoder.step(Int32Array.of(token), 1, { kind: 'logits' });
      singles.push(logits);
    }
    await decoder.truncate(0);
    const all = await decoder.step(Int32Array.from(tokens), tokens.length, { kind: 'logits' });
    check('several tokens at once are the same, bit for bit', sameBits(all.logits, flat(singles)));
    await decoder.truncate(5);
    const rest = await decoder.step(Int32Array.from(tokens.slice(5)), tokens.length - 5, { kind: 'argmax' });
    const ids = singles.slice(5).map(argmax);
    check('argmax after truncating', rest.ids.join() === ids.join());
    const off = singles.slice(5).map((logits, i) => {
      const logprob = (logits[ids[i] as number] as number) - logSumExp(logits);
      return Math.abs(logprob - (rest.logprobs[i] as number));
    });
    below('log-probabilities of the best', Math.max(...off), 1e-4);
  });
  await picking(engine, ids, tokens, flat(singles));
  for (const rows of [2, 8, 16]) {
    await withDecoder(engine, ids, rows, 64, async (decoder) => {
      const last = new Float32Array(rows * vocabSize);
      for (const token of tokens) {
        const { logits = new Float32Array(0) } = await decoder.step(new Int32Array(rows).fill(token), 1, {
          kind: 'logits',
        });
        last.set(logits);
      }
      const wanted = flat(Array.from({ length: rows }, () => singles[singles.length - 1] as Float32Array));
      check(`${rows} rows are the same, bit for bit`, sameBits(last, wanted));
    });
  }
  await withDecoder(engine, ids, 3, 64, async (decoder) => {
    const other = (seed: number) => tokens.map((token, i) => (i === 0 ? token : (token + seed) % vocabSize));
    const lines = [tokens, other(11), other(222)];
    const fed = Array.from({ length: 10 }, (_, i) => lines.map((line) => line[i] as number));
    for (const column of fed) await decoder.step(Int32Array.from(column), 1, { kind: 'argmax' });
    await decoder.reorder(Int32Array.of(2, 0, 0));
    let logits = new Float32Array(0);
    for (let i = 10; i < tokens.length; i++) {
      const token = tokens[i] as number;
      const step = await decoder.step(new Int32Array(3).fill(token), 1, { kind: 'logits' });
      logits = new Float32Array(step.logits ?? []);
    }
    const wanted = singles[singles.length - 1];
    check('reordered rows go on from their parents', sameBits(logits.subarray(vocabSize, 2 * vocabSize), wanted));
    check('two rows of one parent', sameBits(logits.subarray(2 * vocabSize), wanted));
    check('and a row of another parent differs', !sameBits(logits.subarray(0, vocabSize), wanted));
  });
}

async function cancelling(engine: Engine): Promise<void> {
  const free = probeCuda();
  let looked = 0;
  const signal = {
    get stopped() {
      return ++looked > 2;
    },
  };
  const stopped = await engine.encode(new Int32Array(1500).fill(7), signal).then(
    () => undefined,
    (error: unknown) => error,
  );
  check('encoding stops when asked', stopped instanceof CancelledError, String(stopped));
  const after = probeCuda();
  if (free.ok && after.ok) {
    // The encoder keeps its work space; a memory that was begun must be gone.
    const kept = free.freeBytes - after.freeBytes;
    check('a stopped prompt leaves nothing behind but work space', kept < 200e6, `${kept} bytes`);
  }
  const memory = await engine.encode(Int32Array.of(5, 6, 1));
  const huge = await engine.decoder(memory, 200, 1_000_000).then(
    () => undefined,
    (error: unknown) => error,
  );
  check('a decoder that does not fit says so', huge instanceof OutOfMemoryError, String(huge));
  memory.dispose();
}

/** A fault on the card is a named error. Last, because it may take the card from this process. */
function faults(): void {
  const driver = CudaDriver.open();
  const kernel = driver.load(kernelImage('decoder'))('decoder_relay_norm');
  let error: unknown;
  try {
    driver.launch(kernel, { grid: [1], block: 32 }, [pointer(16n), pointer(16n), i32(8), i32(8)]);
    driver.synchronize();
  } catch (caught) {
    error = caught;
  }
  check('a wild pointer is a named error', error instanceof CudaError && error.contextLost, String(error));
  driver.close();
  // Most drivers refuse a new context to a process that had such a fault: then, too, the error must say so.
  let after = '';
  try {
    const again = CudaDriver.open();
    const address = again.alloc(1024, 'a test');
    again.fill(address, 3, 1024);
    const bytes = new Uint8Array(1024);
    again.download(bytes, address);
    after = bytes.every((byte) => byte === 3) ? 'works' : 'computes wrongly';
    again.close();
  } catch (caught) {
    after = caught instanceof CudaError && caught.contextLost ? 'is refused by name' : String(caught);
  }
  check('after a fault, a new context works or is refused by name', /^works$|^is refused/.test(after), after);
}

async function main(): Promise<void> {
  const before = probeCuda();
  if (!before.ok) {
    console.log(`Nothing was run: ${before.reason}`);
    return;
  }
  console.log(`${before.device.name}, driver ${before.device.driverVersion}, ${before.freeBytes} bytes free`);
  await smallCheckpoints();
  await starter();
  const after = probeCuda();
  const lost = after.ok ? before.freeBytes - after.freeBytes : NaN;
  check('all memory is free again', Math.abs(lost) < 8e6, `${lost} bytes are missing`);
  faults();
  console.log(`${passed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}

function flat(parts: readonly Float32Array[]): Float32Array {
  const all = new Float32Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function sameBits(a: Float32Array | undefined, b: Float32Array | undefined): boolean {
  if (a === undefined || b === undefined || a.length !== b.length || a.length === 0) return false;
  const bits = (x: Float32Array) => new Uint32Array(x.buffer, x.byteOffset, x.length);
  const wanted = bits(b);
  return bits(a).every((value, i) => value === wanted[i]);
}

void main();
