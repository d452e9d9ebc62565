/**
 * A long mixed run on a card: greedy, sampled and beam answers, scores, bare encodings, cancelled requests, reloads, and
 * requests and loads that do not fit, in random order. Every answer must be equal to the first of its kind, and all
 * memory must be free at the end.
 *
 *   node dist/gpu/mixed.cjs [requests] [minutes] [seed]     2000 requests and at least 5 minutes
 */
import { CudaDriver } from '../../server/engine/cuda/driver';
import { createCudaEngine, probeCuda } from '../../server/engine/cuda/engine';
import { CudaUnavailableError } from '../../server/engine/cuda/errors';
import type { Engine } from '../../server/engine/engine';
import { OutOfMemoryError } from '../../server/engine/errors';
import { generate } from '../../server/generate/generate';
import { uniform } from '../../server/generate/random';
import { scoreAnswer } from '../../server/generate/score';
import type { WeightFile } from '../../server/weights/file';
import { weightFile } from '../parity/models';
import { type StarterPrompt, starterPrompts } from '../parity/recorded';

const PROMPTS = 24;
const MAX_NEW_TOKENS = 48;
/** Of a card's memory after everything was freed: the driver rounds and keeps a little. */
const LEFT_BYTES = 8e6;

const firsts = new Map<string, string>();
const counts = new Map<string, number>();
const wrong: string[] = [];

/** The first answer of a key is kept; later ones must be the same. */
function same(key: string, answer: string): void {
  const first = firsts.get(key);
  if (first === undefined) firsts.set(key, answer);
  else if (first !== answer) wrong.push(`${key}: ${answer} instead of ${first}`);
}

async function rejects(work: Promise<unknown>, what: string): Promise<void> {
  const error = await work.then(
    () => undefined,
    (caught: unknown) => caught,
  );
  // A card without room even for a context is not available, and says why.
  const said =
    error instanceof OutOfMemoryError || (error instanceof CudaUnavailableError && /memory/.test(error.message));
  if (!said) wrong.push(`${what}: ${String(error)} instead of a lack of memory`);
}

type Request = (engine: Engine, prompt: StarterPrompt, draw: number) => Promise<void>;

const REQUESTS: Readonly<Record<string, Request>> = {
  async greedy(engine, { id, promptIds }) {
    const { ids } = await generate(engine, promptIds, { kind: 'greedy', maxNewTokens: MAX_NEW_TOKENS });
    same(`greedy ${id}`, ids.join());
  },
  // The same key as without drafts: speculation never changes an answer.
  async drafted(engine, { id, promptIds }) {
    const draft = engine.info.draftTokens ?? 0;
    const { ids } = await generate(engine, promptIds, { kind: 'greedy', maxNewTokens: MAX_NEW_TOKENS }, { draft });
    same(`greedy ${id}`, ids.join());
  },
  async sampled(engine, { id, promptIds }, draw) {
    const seed = Math.floor(draw * 3);
    const rule = { temperature: 0.8, topP: 0.9, topK: 40, seed };
    const { ids } = await generate(engine, promptIds, { kind: 'sample', maxNewTokens: MAX_NEW_TOKENS, ...rule });
    same(`seed ${seed} ${id}`, ids.join());
  },
  async beams(engine, { id, promptIds }) {
    const { ids, logprob } = await generate(engine, promptIds, { kind: 'beam', beams: 4, maxNewTokens: 24 });
    same(`beams ${id}`, `${ids.join()} ${logprob}`);
  },
  async score(engine, { id, promptIds, greedy }) {
    const { logprobs } = await scoreAnswer(engine, promptIds, greedy.ids);
    same(`score ${id}`, logprobs.join());
  },
  async encode(engine, { id, promptIds }) {
    const memory = await engine.encode(Int32Array.from(promptIds));
    const hidden = await memory.hidden();
    memory.dispose();
    same(`encode ${id}`, hidden.slice(0, 64).join());
  },
  async cancelled(engine, { id, promptIds, greedy }, draw) {
    const signal = { stopped: draw < 0.2 };
    const after = 1 + Math.floor(draw * 12);
    let seen = 0;
    const onTokens = () => {
      if (++seen >= after) signal.stopped = true;
    };
    const rule = { kind: 'greedy', maxNewTokens: MAX_NEW_TOKENS } as const;
    const { ids } = await generate(engine, promptIds, rule, { signal, onTokens });
    const begun = greedy.ids.slice(0, ids.length).join();
    const whole = firsts.get(`greedy ${id}`);
    if (whole !== undefined ? !whole.startsWith(ids.join()) : ids.join() !== begun) wrong.push(`cancelled ${id}`);
  },
  async tooLarge(engine, { promptIds }) {
    const memory = await engine.encode(Int32Array.from(promptIds));
    await rejects(engine.decoder(memory, 200, 1_000_000), 'a decoder of 200 rows of a million tokens');
    memory.dispose();
  },
};
const KINDS = Object.entries(REQUESTS);

/** Another program that holds nearly all of the card: a load must say so, and work once it is gone. */
async function fullCard(file: WeightFile): Promise<void> {
  const hog = CudaDriver.open();
  const { free } = hog.memory();
  hog.alloc(free - 64e6, 'a test');
  await rejects(createCudaEngine({ file, config: file.config }), 'a load onto a full card');
  hog.close();
}

async function main(): Promise<void> {
  const before = probeCuda();
  if (!before.ok) {
    console.log(`Nothing was run: ${before.reason}`);
    return;
  }
  const [requests = 2000, minutes = 5, seed = 1] = process.argv.slice(2).map(Number);
  const file = await weightFile('starter', 'int8');
  const prompts = starterPrompts().slice(0, PROMPTS);
  const until = performance.now() + minutes * 60e3;
  let engine = await createCudaEngine({ file, config: file.config });
  let loads = 1;
  let done = 0;
  while (done < requests || performance.now() < until) {
    const [what, which, draw, reload] = [0, 1, 2, 3].map((i) => uniform(seed, done * 4 + i)) as [
      number,
      number,
      number,
      number,
    ];
    const [kind, request] = KINDS[Math.floor(what * KINDS.length)] as (typeof KINDS)[number];
    await request(engine, prompts[Math.floor(which * prompts.length)] as StarterPrompt, draw);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    done++;
    if (reload < 0.02) {
      await engine.dispose();
      if (reload < 0.005) await fullCard(file);
      engine = await createCudaEngine({ file, config: file.config });
      loads++;
    }
  }
  await engine.dispose();
  const after = probeCuda();
  const lost = after.ok ? before.freeBytes - after.freeBytes : NaN;
  const kinds = [...counts].map(([kind, count]) => `${count} ${kind}`).join(', ');
  console.log(
    `${before.device.name}: ${done} requests (${kinds}), ${loads} loads; ${lost} bytes of memory not returned`,
  );
  for (const line of wrong.slice(0, 10)) console.log(`FAIL ${line}`);
  const ok = wrong.length === 0 && Math.abs(lost) < LEFT_BYTES;
  console.log(ok ? `every answer is equal to the first of its kind (${firsts.size} kinds)` : `${wrong.length} differ`);
  process.exitCode = ok ? 0 : 1;
}

void main();
