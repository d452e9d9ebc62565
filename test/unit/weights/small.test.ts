import { expect, it } from 'vitest';
import { humanBytes, inSteps, type Progress, show, throwIfCancelled } from '../../../server/weights/small';

it('reports at most a thousand steps of long work, and its end', () => {
  const seen: Progress[] = [];
  const report = inSteps((progress) => seen.push(progress));
  for (let i = 1; i <= 40_000; i++) report({ message: 'Quantizing', fraction: i / 40_000 });
  report({ message: 'Checking', fraction: 0.0001 });
  expect(seen.length).toBeLessThanOrEqual(1_002);
  expect(seen.length).toBeGreaterThan(900);
  expect(seen.at(-2)).toEqual({ message: 'Quantizing', fraction: 1 });
  expect(seen.at(-1)?.message).toBe('Checking');
});

it('writes sizes for people', () => {
  expect([1, 999, 26_677_504, 19.6e9].map(humanBytes)).toEqual(['1 kB', '1 kB', '27 MB', '19.6 GB']);
});

it('shows values of files in one short line', () => {
  expect(show('a\n\u001b[31mb\u2028c')).toBe('a [31mb c');
  expect(show({ a: [1, null] })).toBe('{"a":[1,null]}');
  expect(show(undefined)).toBe('undefined');
  expect(show('x'.repeat(100))).toHaveLength(60);
});

it('knows both kinds of signals', () => {
  expect(() => throwIfCancelled(undefined)).not.toThrow();
  expect(() => throwIfCancelled({ stopped: false })).not.toThrow();
  expect(() => throwIfCancelled(new AbortController().signal)).not.toThrow();
  expect(() => throwIfCancelled({ stopped: true })).toThrow('Stopped.');
  expect(() => throwIfCancelled(AbortSignal.abort())).toThrow('Stopped.');
});
