/**
 * Speculation from the source on a card, with the built-in model: the same ids with drafts and without, and how many
 * tokens a step gives on answers that repeat their source.
 */
import { createCudaEngine, probeCuda } from '../../server/engine/cuda/engine';
import { generate } from '../../server/generate/generate';
import { weightFile } from '../parity/models';
import { starterPrompts } from '../parity/recorded';

const MAX_NEW_TOKENS = 96;

async function main(): Promise<void> {
  const probe = probeCuda();
  if (!probe.ok) {
    console.log(`Nothing was run: ${probe.reason}`);
    return;
  }
  const file = await weightFile('starter', 'int8');
  const engine = await createCudaEngine({ file, config: file.config });
  const draft = engine.info.draftTokens ?? 0;
  let differ = 0;
  const all = { tokens: 0, steps: 0, plainMs: 0, draftedMs: 0 };
  const copying = { ...all };
  for (const { id, promptIds } of starterPrompts()) {
    const rule = { kind: 'greedy', maxNewTokens: MAX_NEW_TOKENS } as const;
    const start = performance.now();
    const plain = await generate(engine, promptIds, rule);
    const middle = performance.now();
    const drafted = await generate(engine, promptIds, rule, { draft });
    const end = performance.now();
    if (plain.ids.join() !== drafted.ids.join()) {
      differ++;
      console.log(`FAIL ${id}: with drafts ${drafted.ids.join()} instead of ${plain.ids.join()}`);
    }
    const groups = repeats(plain.ids, promptIds) >= 0.5 ? [all, copying] : [all];
    for (const group of groups) {
      group.tokens += plain.ids.length;
      group.steps += drafted.steps;
      group.plainMs += middle - start;
      group.draftedMs += end - middle;
    }
  }
  await engine.dispose();
  for (const [name, { tokens, steps, plainMs, draftedMs }] of Object.entries({ all, copying })) {
    console.log(
      `${name}: ${tokens} tokens in ${steps} steps, ${(tokens / steps).toFixed(2)} a step; ${(plainMs / draftedMs).toFixed(2)} x as fast`,
    );
  }
  console.log(differ === 0 ? 'the same ids with drafts and without' : `${differ} answers differ`);
  process.exitCode = differ === 0 ? 0 : 1;
}

/** The share of an answer's pairs of tokens that stand in its source. */
function repeats(ids: readonly number[], source: readonly number[]): number {
  const pairs = (list: readonly number[]) => list.slice(1).map((id, i) => `${list[i]} ${id}`);
  const known = new Set(pairs(source));
  const own = pairs(ids);
  return own.length === 0 ? 0 : own.filter((pair) => known.has(pair)).length / own.length;
}

void main();
