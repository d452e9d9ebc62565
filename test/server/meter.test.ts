/** The meter's thread: counts, says why it cannot, ends when nobody asks, and starts again. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { PromptSet } from '../../server/protocol';
import { Meter } from '../../server/runtime/meter';
import { STARTER, until } from './harness';

const METER = join(STARTER, '..', '..', 'dist', 'meter.js');
const set: PromptSet = {
  version: 1,
  name: 'a',
  instruction: 'Say yes or no.',
  form: 'qa',
  examples: [{ input: 'Is it?', output: 'yes' }],
};
const starter = { name: 'starter', dir: STARTER, demo: true, state: '1' };

let meter: Meter;
let folder: string | undefined;
afterEach(async () => {
  await meter.dispose();
  if (folder !== undefined) rmSync(folder, { recursive: true });
  folder = undefined;
});

describe('the meter', () => {
  it('ends when nobody asks for a while, and starts again at the next count', async () => {
    meter = new Meter(METER, 20);
    const first = await meter.count(starter, set, 'Now?');
    expect(await until(() => !meter.running)).toBe(true);
    expect(await meter.count(starter, set, 'Now?')).toEqual(first);
  });

  it('answers many at once, each its own', async () => {
    meter = new Meter(METER);
    const inputs = Array.from({ length: 30 }, (_, at) => 'word '.repeat(at + 1));
    const counts = await Promise.all(inputs.map((input) => meter.count(starter, set, input)));
    const totals = counts.map(({ total }) => total);
    expect(totals).toEqual([...totals].sort((a, b) => a - b));
    expect(new Set(totals).size).toBe(30);
  });

  it('says why it cannot, and looks again when the folder has changed', async () => {
    meter = new Meter(METER);
    folder = mkdtempSync(join(tmpdir(), 'flan-meter-'));
    for (const name of ['config.json', 'tokenizer_config.json']) cpSync(join(STARTER, name), join(folder, name));
    const model = { name: 'mine', dir: folder, demo: false, state: '1' };
    await expect(meter.count(model, set, '')).rejects.toMatchObject({ code: 'tokenizer' });
    writeFileSync(join(folder, 'tokenizer.json'), '{');
    await expect(meter.count(model, set, '')).rejects.toMatchObject({ code: 'tokenizer' });
    cpSync(join(STARTER, 'tokenizer.json'), join(folder, 'tokenizer.json'));
    const counted = await meter.count({ ...model, state: '2' }, set, '');
    expect(counted).toMatchObject({ model: 'mine', total: (await meter.count(starter, set, '')).total });
  });

  it('that ends in the middle refuses what waits, and starts again', async () => {
    meter = new Meter(METER);
    const waiting = meter.count(starter, set, 'a');
    const refused = expect(waiting).rejects.toMatchObject({ code: 'meter' });
    await meter.dispose();
    await refused;
    expect((await meter.count(starter, set, 'a')).fits).toBe(true);
  });
});
