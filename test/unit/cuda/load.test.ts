import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, truncateSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { probeCuda } from '../../../server/engine/cuda/driver';
import { CudaShapeError } from '../../../server/engine/cuda/errors';
import { kernelImage } from '../../../server/engine/cuda/images';
import { loadWeights, stagingBytes } from '../../../server/engine/cuda/load';
import type { StagedTensor, WeightOwner } from '../../../server/engine/cuda/seams';
import { CancelledError } from '../../../server/errors';
import { inEnglish } from '../../../server/saying';
import { convertCheckpoint } from '../../../server/weights/convert';
import type { WeightFile } from '../../../server/weights/file';
import { tensorsOf } from '../../../server/weights/layout';

const root = join(__dirname, '..', '..', '..');
const folder = mkdtempSync(join(tmpdir(), 'flan-load-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

async function smallFile(name = 'model'): Promise<WeightFile> {
  const source = join(root, 'test/fixtures/checkpoints/silu-uneven');
  return (await convertCheckpoint({ source, out: join(folder, `${name}.safetensors`), format: 'int8' })).file;
}

/** A card whose memory is an array: what is uploaded can be looked at when a tensor is placed. */
function memoryCard() {
  const base = 0x100000n;
  let memory = new Uint8Array(0);
  let allocated = 0;
  return {
    at: (address: bigint, bytes: number) => memory.slice(Number(address - base), Number(address - base) + bytes),
    get allocated() {
      return allocated;
    },
    driver: {
      alloc(bytes: number) {
        memory = new Uint8Array(bytes).fill(0xee);
        allocated++;
        return base;
      },
      free: () => void allocated--,
      upload(to: bigint, from: NodeJS.TypedArray) {
        memory.set(new Uint8Array(from.buffer, from.byteOffset, from.byteLength), Number(to - base));
      },
      synchronize: () => undefined,
    },
  };
}

function owner(owns: (name: string) => boolean, place: (tensor: StagedTensor) => void): WeightOwner {
  return { weightBytes: 0, owns, place, dispose: () => undefined };
}

describe('loading', () => {
  it('brings every tensor whole to its owner, once, with its scales', async () => {
    const file = await smallFile();
    const bytes = await readFile(file.path);
    const card = memoryCard();
    const placed: string[] = [];
    const compare = (tensor: StagedTensor) => {
      placed.push(tensor.name);
      const data = file.offsetOf(tensor.name);
      expect(
        Buffer.compare(card.at(tensor.data, data.bytes), bytes.subarray(data.offset, data.offset + data.bytes)),
      ).toBe(0);
      if (tensor.scales === 0n) return;
      const scales = file.offsetOf(`${tensor.name}.scales`);
      const wanted = bytes.subarray(scales.offset, scales.offset + scales.bytes);
      expect(Buffer.compare(card.at(tensor.scales, scales.bytes), wanted)).toBe(0);
      expect(tensor.scales % 256n).toBe(0n);
    };
    const decoder = (name: string) => name.startsWith('decoder.');
    const fractions: number[] = [];
    await loadWeights(
      card.driver,
      file,
      [owner(decoder, compare), owner((name) => !decoder(name), compare)],
      (fraction) => fractions.push(fraction),
    );
    expect(placed).toEqual(tensorsOf(file.config).map(({ name }) => name));
    expect(fractions.at(-1)).toBe(1);
    expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
    expect(card.allocated).toBe(0);
    expect(stagingBytes(file.config)).toBeGreaterThan(file.offsetOf('shared.weight').bytes);
  });

  it('stops when asked, and gives the staging area back', async () => {
    const file = await smallFile();
    const card = memoryCard();
    let placed = 0;
    const signal = {
      get stopped() {
        return placed > 2;
      },
    };
    const all = owner(
      () => true,
      () => void placed++,
    );
    await expect(loadWeights(card.driver, file, [all], undefined, signal)).rejects.toThrow(CancelledError);
    expect(placed).toBe(3);
    expect(card.allocated).toBe(0);
  });

  it('refuses a tensor that nothing takes, and a file that became shorter', async () => {
    const file = await smallFile('cut');
    const card = memoryCard();
    const some = owner(
      (name) => name !== 'decoder.final_layer_norm.weight',
      () => undefined,
    );
    await expect(loadWeights(card.driver, file, [some])).rejects.toThrow(CudaShapeError);
    truncateSync(file.path, file.fileBytes - 5);
    const all = owner(
      () => true,
      () => undefined,
    );
    await expect(loadWeights(card.driver, file, [all])).rejects.toThrow(/became shorter/);
    expect(card.allocated).toBe(0);
  });
});

describe('the kernels beside the program', () => {
  it('are there, and belong to the sources', () => {
    for (const name of ['decoder', 'encoder'] as const) expect(kernelImage(name).byteLength).toBeGreaterThan(100_000);
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [join(root, 'scripts/build-kernels.mjs'), '--check'],
      {
        encoding: 'utf8',
      },
    );
    expect(`${stdout}${stderr}`).toBe('decoder: up to date\nencoder: up to date\n');
    expect(status).toBe(0);
  });
});

describe('the probe', () => {
  it('never throws, and says in a sentence why there is no card', () => {
    const probe = probeCuda();
    if (probe.ok) expect(probe.device.name).not.toBe('');
    else {
      expect(probe.reason).toMatch(/^[A-Z].*[^.]$/);
      // Other languages get the same sentence in parts.
      expect(probe.said && inEnglish(probe.said)).toBe(probe.reason);
      // The package that calls the driver was found, so it is the driver or the card that is missing.
      expect(probe.reason).not.toContain('does not load');
    }
  });
});
