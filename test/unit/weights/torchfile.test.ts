import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Checkpoint } from '../../../server/weights/checkpoint';
import { readConfig } from '../../../server/weights/config';
import { convertCheckpoint } from '../../../server/weights/convert';
import { TorchFileError } from '../../../server/weights/errors';
import { openWeightFile } from '../../../server/weights/file';
import { tensorsOf } from '../../../server/weights/layout';
import { openTorchFile } from '../../../server/weights/torchfile';
import { randomOf, rejection, temporaryFolder } from './support';

/** Made by torch.save: see torch/make.py, which also says what the values are. */
const made = resolve('test/unit/weights/torch');
const folder = temporaryFolder();
let count = 0;

function fileOf(bytes: Uint8Array): string {
  const path = join(folder, `${count++}.bin`);
  writeFileSync(path, bytes);
  return path;
}

describe.each(['zip', 'legacy', 'sharded'])('%s', (name) => {
  const dir = join(made, name);

  it('has every tensor with its values', async () => {
    const config = await readConfig(dir);
    expect(config).toMatchObject({ tied: true, vocabSize: 12, gated: true });
    const specs = tensorsOf(config);
    const sorted = specs.map((spec) => spec.name).sort();
    const checkpoint = await Checkpoint.open(dir);
    checkpoint.check(specs);
    for (const spec of specs) {
      const t = sorted.indexOf(spec.name);
      const size = spec.shape.reduce((a, b) => a * b, 1);
      const expected = Float32Array.from({ length: size }, (_, i) => (((7 * i + 13 * t) % 251) - 125) / 64);
      for await (const { values, row } of checkpoint.rows(spec)) {
        expect(row).toBe(0);
        expect(values).toEqual(expected);
      }
    }
    expect(await checkpoint.outputIsItsOwn()).toBe(false);
    await checkpoint.close();
  });

  it('is converted', async () => {
    const out = join(folder, name, 'w');
    await convertCheckpoint({ source: dir, out, format: 'int8' });
    const file = await openWeightFile(out);
    expect(file.config.dFf).toBe(10);
  });
});

it('finds views into a storage, and passes over what is no tensor', async () => {
  const file = await openTorchFile(join(made, 'views.bin'));
  expect([...file.tensors.keys()]).toEqual(['rows', 'one', 'scalar']);
  expect(new Float32Array((await file.read('rows')).buffer)).toEqual(Float32Array.of(4, 5, 6, 7, 8, 9, 10, 11));
  expect(new Float32Array((await file.read('one')).buffer)).toEqual(Float32Array.of(4));
  expect(file.info('scalar')).toMatchObject({ dtype: 'I64', shape: [] });
  await file.close();
});

describe('refusals', () => {
  it.each([
    ['transposed.bin', /tensor transposed is stored transposed/],
    ['list.bin', /no dictionary of tensors/],
    ['evil.bin', /asks to run (posix|nt)\.system, which is not done/],
    ['evil-legacy.bin', /asks to run (posix|nt)\.system, which is not done/],
  ])('%s', async (name, message) => {
    const error = await rejection(openTorchFile(join(made, name)));
    expect(error).toBeInstanceOf(TorchFileError);
    expect(error.message).toMatch(message);
    expect(existsSync('evil.txt') || existsSync(join(made, 'evil.txt'))).toBe(false);
  });

  it.each(['zip', 'legacy'])('a file that is cut short: %s', async (name) => {
    const whole = readFileSync(join(made, name, 'pytorch_model.bin'));
    for (let length = 0; length < whole.length; length += 97) {
      const error = await rejection(openTorchFile(fileOf(whole.subarray(0, length))));
      expect(error).toBeInstanceOf(TorchFileError);
      expect(error.message).toMatch(/Download this file again/);
    }
  });

  it('a file that is missing, and one of something else', async () => {
    expect((await rejection(openTorchFile(join(folder, 'none')))).message).toMatch(/the file is missing/);
    const page = fileOf(Buffer.from('<!DOCTYPE html><html>Not found</html>'));
    expect((await rejection(openTorchFile(page))).message).toMatch(/no PyTorch file/);
  });
});

it.each(['zip', 'legacy'])('1,000 damaged files: sound, or a TorchFileError, nothing else (%s)', async (name) => {
  const whole = readFileSync(join(made, name, 'pytorch_model.bin'));
  // Damage where the structure is: the pickle at the start, the directory at the end.
  const places = name === 'zip' ? [5_000, whole.length - 5_000] : [4_000, whole.length];
  const random = randomOf(11);
  const below = (n: number) => Math.floor(random() * n);
  const other: string[] = [];
  const path = fileOf(whole);
  let refused = 0;
  for (let i = 0; i < 1_000; i++) {
    const bytes = Buffer.from(whole);
    for (let changes = 1 + below(4); changes > 0; changes--) {
      const at = random() < 0.5 ? below(places[0] ?? 0) : (places[1] ?? 0) + below(whole.length - (places[1] ?? 0));
      const dictionary = [0x28, 0x29, 0x2e, 0x52, 0x51, 0x62, 0x71, 0x74, 0x7d, 0x85, 0x8a, 0xff, 0x00];
      bytes[at] = random() < 0.5 ? below(256) : (dictionary[below(dictionary.length)] ?? 0);
    }
    writeFileSync(path, bytes);
    try {
      const file = await openTorchFile(path);
      try {
        for (const tensor of file.tensors.keys()) await file.read(tensor);
      } finally {
        await file.close();
      }
    } catch (error) {
      refused++;
      if (!(error instanceof TorchFileError) || error.message.includes('\n')) other.push(String(error));
    }
  }
  expect(other).toEqual([]);
  expect(refused).toBeGreaterThan(200);
});
