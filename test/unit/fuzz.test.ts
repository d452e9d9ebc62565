/** Every reader with some 9,000 damaged inputs, other ones at every run; `npm run fuzz` tries 120,000 and more. */
import { afterAll, expect, it } from 'vitest';
import { SafetensorsFile } from '../../server/weights/safetensors';
import { allTargets, fuzz } from '../fuzz/fuzz';
import { Mutator } from '../fuzz/mutate';
import { isRefusal, memoryFile } from '../fuzz/target';
import { rejection } from './weights/support';

const COUNT = 9000;
const seed = Number(process.env['FLAN_FUZZ_SEED'] ?? Math.floor(Math.random() * 1e9));
const { targets, dispose } = await allTargets();
afterAll(dispose);

it.each(targets.map(([target, share]) => ({ name: target.name, target, share })))(
  `$name (FLAN_FUZZ_SEED=${seed} tries the same again)`,
  { timeout: 120_000 },
  async ({ target, share }) => {
    const { tried, refused, found } = await fuzz(target, Math.ceil((COUNT * share) / 100), seed);
    expect(found).toEqual([]);
    // Damage that is never refused, or always, tries nothing.
    expect(refused).toBeGreaterThan(tried / 20);
    expect(refused).toBeLessThan(tried);
  },
);

it('finds what it looks for: a reader that goes beyond the end, one that accepts anything, one that throws something else', async () => {
  const target = (read: () => Promise<void>) => ({
    name: 'broken',
    words: ['x'],
    damage: (mutator: Mutator) => ({ bytes: mutator.text(Buffer.from('some text')), of: 0 }),
    read,
  });
  const file = memoryFile(Buffer.alloc(10));
  const beyond = target(async () => {
    await file.handle.read(new Uint8Array(4), 0, 4, 8);
  });
  expect((await fuzz(beyond, 3, 1)).found[0]).toMatch(/^read to 12 of 10 bytes/);
  const other = target(() => Promise.reject(new TypeError('x is undefined')));
  expect((await fuzz(other, 3, 1)).found).toHaveLength(3);
  expect(isRefusal(await rejection(SafetensorsFile.read(file)))).toBe(true);
});

it('damages the same way for the same seed', () => {
  const some = (seed: number) => {
    const mutator = new Mutator(seed, ['word']);
    return Array.from({ length: 20 }, () => mutator.text(Buffer.from('{"a": 12}')).toString('latin1'));
  };
  expect(some(5)).toEqual(some(5));
  expect(some(5)).not.toEqual(some(6));
});
