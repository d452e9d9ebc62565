import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import { afterEach, describe, expect, it } from 'vitest';
import { Hasher } from '../../../../server/weights/hub/hasher';
import { Sha256 } from '../../../../server/weights/hub/sha256';
import { randomOf, rejection, temporaryFolder } from '../support';

const random = randomOf(5);
const bytes = Uint8Array.from({ length: 300_000 }, () => Math.floor(random() * 256));
const sumOf = (part: Uint8Array) => createHash('sha256').update(part).digest('hex');

describe('SHA-256', () => {
  it('is that of Node for every length around a block', () => {
    for (let length = 0; length < 200; length++) {
      const part = bytes.subarray(0, length);
      expect(new Sha256().update(part).digest()).toBe(sumOf(part));
    }
  });

  it('does not depend on how the bytes come, nor on being saved and taken up again in between', () => {
    for (let turn = 0; turn < 40; turn++) {
      let hash = new Sha256();
      for (let at = 0; at < bytes.length; ) {
        const length = Math.floor(random() ** 4 * 150_000);
        hash.update(bytes.subarray(at, at + length));
        at = Math.min(at + length, bytes.length);
        expect(hash.bytes).toBe(at);
        if (random() < 0.5) hash = Sha256.restore(hash.save());
      }
      expect(hash.digest()).toBe(sumOf(bytes));
    }
  });

  it('counts beyond 32 bits', () => {
    // The padding holds the length in bits: a state that says 5 GB, as if it had been fed them.
    const words = new Sha256().save().split(' ')[1] ?? '';
    const long = Sha256.restore(`${5 * 2 ** 30} ${words} `).update(bytes.subarray(0, 64));
    expect(long.bytes).toBe(5 * 2 ** 30 + 64);
    expect(long.digest()).not.toBe(
      Sha256.restore(`${2 ** 30} ${words} `)
        .update(bytes.subarray(0, 64))
        .digest(),
    );
  });

  it('takes up nothing but what it saved', () => {
    const saved = new Sha256().update(bytes.subarray(0, 70)).save();
    for (const bad of ['', 'x', saved.slice(0, -1), saved.slice(0, -2), `${saved}00`, saved.replace(' ', '  ')]) {
      expect(() => Sha256.restore(bad)).toThrow(RangeError);
    }
  });
});

describe('hashing on a thread', () => {
  const folder = temporaryFolder();
  const threadFile = join(folder, 'hasher.cjs');
  buildSync({
    entryPoints: [resolve('server/weights/hub/sha256_thread.ts')],
    ...{ outfile: threadFile, bundle: true, platform: 'node', target: 'node20' },
  });
  const hashers: Hasher[] = [];
  const hasherOf = (file?: string) => {
    const hasher = new Hasher(file);
    hashers.push(hasher);
    return hasher;
  };
  afterEach(async () => {
    for (const hasher of hashers.splice(0)) await hasher.close();
  });

  it.each([
    ['none', undefined],
    ['one', threadFile],
  ])('%s: sums and the states at places in between', async (_, file) => {
    const hasher = hasherOf(file);
    const memory = hasher.memory(bytes.length);
    memory.set(bytes);
    const whole = hasher.begin();
    const ends = [1, 64, 100_000, 199_999];
    const states = await whole.update(memory.subarray(0, 200_000), ends);
    expect(states).toEqual(ends.map((end) => new Sha256().update(bytes.subarray(0, end)).save()));
    await whole.update(memory.subarray(200_000), []);
    expect(whole.bytes).toBe(bytes.length);
    expect(await whole.digest()).toBe(sumOf(bytes));
    // Another file, from where an earlier one stopped.
    const rest = hasher.begin(states[2]);
    expect(rest.bytes).toBe(100_000);
    await rest.update(memory.subarray(100_000), []);
    expect(await rest.digest()).toBe(sumOf(bytes));
  });

  it('a thread that ends is told to whoever waits, and to whoever asks later', async () => {
    const broken = join(folder, 'broken.cjs');
    writeFileSync(broken, "require('node:worker_threads').parentPort.on('message', () => process.exit(3));");
    const hash = hasherOf(broken).begin();
    expect((await rejection(hash.update(bytes, []))).message).toMatch(/A thread .* ended unexpectedly \(exit code 3\)/);
    expect((await rejection(hash.digest())).message).toMatch(/exit code 3/);
  });
});
