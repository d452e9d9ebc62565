import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Checkpoint } from '../../../server/weights/checkpoint';
import { readConfig } from '../../../server/weights/config';
import { convertCheckpoint } from '../../../server/weights/convert';
import { TorchFileError } from '../../../server/weights/errors';
import { openWeightFile } from '../../../server/weights/file';
import { tensorsOf } from '../../../server/weights/layout';
import { openTorchFile } from '../../../server/weights/torchfile';
import { filesIn, rejection, temporaryFolder } from './support';

/** Made by torch.save: see torch/make.py, which also says what the values are. */
const made = resolve('test/unit/weights/torch');
const folder = temporaryFolder();
const fileOf = filesIn(folder);

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

it('reads a transposed tensor', async () => {
  const file = await openTorchFile(join(made, 'transposed.bin'));
  const expected = Float32Array.of(0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11);
  expect(file.info('transposed').shape).toEqual([4, 3]);
  expect(new Float32Array((await file.read('transposed')).buffer)).toEqual(expected);
  await file.close();
});

describe('refusals', () => {
  it.each([
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

describe('what would give other weights without a sign', () => {
  const whole = readFileSync(join(made, 'views.bin'));
  const at = (text: string, from = 0) => whole.indexOf(Buffer.from(text, 'latin1'), from);
  const changed = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(whole);
    change(bytes);
    return bytes;
  };
  // The local header of an entry is 30 bytes before its name, and the name stands once more in the directory.
  const local = (entry: string) => at(entry) - 30;
  const inDirectory = (entry: string) => whole.lastIndexOf(Buffer.from(entry)) - 46;

  it.each<[string, Buffer, RegExp]>([
    [
      'an entry whose own header is another one',
      changed((b) => b.write('views/data/1', at('views/data/0'))),
      /entry views\/data\/0 is damaged/,
    ],
    [
      'a longer extra field',
      changed((b) => b.writeUInt16LE(b.readUInt16LE(local('views/data/0') + 28) + 4, local('views/data/0') + 28)),
      /entry views\/data\/0 is damaged/,
    ],
    [
      'a shorter extra field',
      changed((b) => b.writeUInt16LE(3, local('views/data/0') + 28)),
      /entry views\/data\/0 is damaged/,
    ],
    [
      'an entry listed as another one',
      changed((b) => b.writeUInt32LE(local('views/data/1'), inDirectory('views/data/0') + 42)),
      /entry views\/data\/0 is damaged/,
    ],
    [
      'two entries of a name',
      changed((b) => b.write('views/data/0', inDirectory('views/data/1') + 46)),
      /is damaged|names an entry twice/,
    ],
    [
      'a storage that is called one of another type',
      changed((b) => b.write('ShortStorage', at('FloatStorage'))),
      /tensor rows is of 48 bytes, but should be of 24/,
    ],
  ])('%s is refused', async (_, bytes, message) => {
    const error = await rejection(openTorchFile(fileOf(bytes)));
    expect(error).toBeInstanceOf(TorchFileError);
    expect(error.message).toMatch(message);
  });

  it('a legacy file that goes on behind its last storage', async () => {
    const legacy = readFileSync(join(made, 'legacy', 'pytorch_model.bin'));
    const error = await rejection(openTorchFile(fileOf(Buffer.concat([legacy, Buffer.alloc(8)]))));
    expect(error.message).toMatch(/longer than its list of tensors says/);
  });
});

describe('hostile lists of tensors', () => {
  /** A zip of one entry: a list that is no longer than it may be. */
  const archive = (pickle: Buffer) => {
    const name = Buffer.from('a/data.pkl');
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50);
    local.writeUInt16LE(name.length, 26);
    const entry = Buffer.alloc(46);
    entry.writeUInt32LE(0x02014b50);
    entry.writeUInt32LE(pickle.length, 20);
    entry.writeUInt32LE(pickle.length, 24);
    entry.writeUInt16LE(name.length, 28);
    const end = Buffer.alloc(22);
    end.writeUInt32LE(0x06054b50);
    end.writeUInt32LE(entry.length + name.length, 12);
    end.writeUInt32LE(local.length + name.length + pickle.length, 16);
    return Buffer.concat([local, name, pickle, entry, name, end]);
  };
  const bytes = (...parts: (string | number[])[]) =>
    Buffer.concat(parts.map((part) => (typeof part === 'string' ? Buffer.from(part, 'latin1') : Buffer.from(part))));
  const text = (word: string): number[] => [0x58, word.length, 0, 0, 0, ...Buffer.from(word)];
  const HUGE = [0x8a, 8, 0, 0, 0x64, 0xa7, 0xb3, 0xb6, 0xe0, 0x0d]; // 10 ** 18
  const storage = (count: number[]) =>
    bytes('(', text('storage'), 'ctorch\nFloatStorage\n', text('0'), text('cpu'), count, 'tQ');
  const tensor = (count: number[], shape: number[]) =>
    bytes(
      [0x80, 2],
      '}',
      text('w'),
      'ctorch._utils\n_rebuild_tensor_v2\n(',
      [...storage(count)],
      'K\0(',
      shape,
      't(K\x01t',
      [0x89],
      'NtRs.',
    );

  it('the archive that the cases are made of is read', async () => {
    const file = await openTorchFile(fileOf(archive(bytes([0x80, 2], '}.'))));
    expect(file.tensors.size).toBe(0);
    await file.close();
  });

  it.each<[string, Buffer, RegExp]>([
    ['a command', bytes([0x80, 2], 'cposix\nsystem\n(', text('touch evil.txt'), 'tR.'), /asks to run posix\.system/],
    [
      'a command by another way in',
      bytes([0x80, 4], text('os'), text('system'), [0x93], '(', text('x'), 't', [0x81], '.'),
      /asks to run os\.system/,
    ],
    ['a command as an attribute', bytes([0x80, 2], 'cbuiltins\ngetattr\n)R.'), /asks to run builtins\.getattr/],
    ['an object of a class', bytes([0x80, 2], '(c__main__\nEvil\no.'), /has the opcode 0x6f, which is not read/],
    ['an extension', bytes([0x80, 2, 0x82, 1], '.'), /has the opcode 0x82/],
    ['a dimension of 10 ** 18', tensor([0x4b, 4], HUGE), /a tensor of an impossible size/],
    [
      'dimensions whose product is 2 ** 60',
      tensor(
        [0x4b, 4],
        [...Array(3)].flatMap(() => [0x4a, 0, 0, 0x10, 0]),
      ),
      /is damaged|impossible size/,
    ],
    ['a storage of 10 ** 18', tensor(HUGE, [0x4b, 4]), /a storage that is damaged/],
    ['a tensor without its storage', tensor([0x4b, 4], [0x4b, 4]), /tensor w is damaged/],
    [
      'a list that holds itself as a type',
      bytes([0x80, 2], '}', text('w'), '(', text('storage'), ']q\0h\0a', text('0'), text('cpu'), 'K\x04tQs.'),
      /a storage of type unknown/,
    ],
    [
      'lists in lists, 500,000 deep',
      bytes([0x80, 2], ']'.repeat(500_000), 'a'.repeat(499_999), '.'),
      /no dictionary of tensors/,
    ],
    [
      'a memory of 16 million things',
      bytes([0x80, 4], ']', '\x94'.repeat(16_000_000), '.'),
      /takes more than 1000000 instructions/,
    ],
    ['16 million marks', bytes([0x80, 2], '('.repeat(16_000_000), '.'), /takes more than 1000000 instructions/],
    ['a text longer than the file', bytes([0x80, 2], 'X\xff\xff\xff\xffx.'), /ends too early/],
    ['what was never remembered', bytes([0x80, 2], 'h\x07.'), /refers to what it has not defined/],
    ['a list of more than 16 MB', Buffer.alloc(17 * 1024 * 1024, 0x30), /claims 17825792 bytes/],
  ])('%s is refused by name', async (_, pickle, message) => {
    const error = await rejection(openTorchFile(fileOf(archive(pickle))));
    expect(error).toBeInstanceOf(TorchFileError);
    expect(error.message).toMatch(message);
    expect(error.message).not.toContain('\n');
    expect(existsSync('evil.txt')).toBe(false);
  });
});
