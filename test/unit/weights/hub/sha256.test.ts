import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Sha256 } from '../../../../server/weights/hub/sha256';
import { randomOf } from '../support';

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
