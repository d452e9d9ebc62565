/** The table of `flan bench --table`: what it measures, and that it frees it; not how long anything takes. */
import { describe, expect, it } from 'vitest';
import { describeTable, measureTable } from '../../../server/cli/bench_table';
import type { Engine } from '../../../server/engine/engine';
import { CancelledError } from '../../../server/errors';
import { hashTable, TableEngine } from '../generate/table-engine';

const OPTIONS = { steps: 2, encodes: 1 } as const;

describe('the table of a benchmark', () => {
  it('has prompts, steps of every form and the first word, and leaves nothing behind', async () => {
    const engine = new TableEngine(50, hashTable(50, -40));
    const table = await measureTable(engine, { ...OPTIONS, copyBytesPerSecond: 1e9 });
    expect(table.encode.map(({ tokens }) => tokens)).toEqual([512, 1000, 2048]);
    const forms = table.steps.map(({ source, cached, rows, tokensPerRow }) => [source, cached, rows, tokensPerRow]);
    expect(forms).toHaveLength(18);
    expect(forms.slice(0, 3)).toEqual([
      [512, 48, 1, 1],
      [512, 48, 1, 4],
      [512, 48, 1, 8],
    ]);
    expect(forms.at(-1)).toEqual([2048, 48, 16, 1]);
    // One layer, one head of one value, 4 bytes: keys and values of 512 source tokens and of 16 rows of 48.
    expect(table.steps[5]?.bytes).toBe(2 * 4 * (512 + 16 * 48));
    for (const { ms, bytes, ofCopySpeed } of table.steps) {
      expect(ofCopySpeed).toBeCloseTo(bytes / (ms / 1e3) / 1e9, 6);
    }
    expect(table.firstWord.tokens).toBe(1000);
    expect(table.deviceBytes).toBeUndefined();
    expect(engine.open).toBe(0);
    const lines = describeTable(table);
    expect(lines[0]).toBe('copy in this memory: 1 GB/s, bytes read and written');
    expect(lines).toHaveLength(1 + 3 + 18 + 1);
  });

  it("takes the device's own copy speed and memory, and says neither where there is none", async () => {
    const engine: Engine = Object.assign(new TableEngine(50, hashTable(50, -40)), {
      copyBytesPerSecond: () => 3e12,
      deviceBytes: () => 2 ** 31,
    });
    const lines = describeTable(await measureTable(engine, { ...OPTIONS, copyBytesPerSecond: 1 }));
    expect(lines[0]).toContain('3000 GB/s');
    expect(lines.at(-1)).toBe('device memory with 2048 source and 512 new tokens: 2.00 GiB');
    const bare = describeTable(await measureTable(new TableEngine(50, hashTable(50, -40)), OPTIONS));
    expect(bare.join('\n')).not.toMatch(/copy|GiB/);
  });

  it('stops when asked, and frees what it holds', async () => {
    const engine = new TableEngine(50, hashTable(50, -40));
    let asked = 0;
    const stopped = () => ++asked > 20;
    await expect(measureTable(engine, { ...OPTIONS, stopped })).rejects.toThrow(CancelledError);
    expect(engine.open).toBe(0);
  });
});
