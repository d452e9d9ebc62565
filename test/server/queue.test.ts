import { describe, expect, it } from 'vitest';
import { FairQueue } from '../../server/runtime/queue';

describe('FairQueue', () => {
  const fill = (items: readonly string[]) => {
    const queue = new FairQueue<string>();
    for (const item of items) queue.push(item.charCodeAt(0), item);
    return queue;
  };
  const drain = (queue: FairQueue<string>) => {
    const out: string[] = [];
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) out.push(item);
    return out;
  };

  it('takes turns between clients, and keeps the order of each', () => {
    expect(drain(fill(['a1', 'a2', 'a3', 'b1', 'c1', 'c2']))).toEqual(['a1', 'b1', 'c1', 'a2', 'c2', 'a3']);
  });

  it('foretells its order exactly', () => {
    const queue = fill(['a1', 'a2', 'a3', 'b1', 'c1', 'c2']);
    expect(queue.shift()).toBe('a1');
    const order = queue.order();
    expect(order).toEqual(['b1', 'c1', 'a2', 'c2', 'a3']);
    expect(drain(queue)).toEqual(order);
  });

  it('gives a client that comes late its turn before the second of one that was there', () => {
    const queue = fill(['a1', 'a2', 'a3']);
    queue.shift();
    queue.push('b'.charCodeAt(0), 'b1');
    expect(queue.order()).toEqual(['a2', 'b1', 'a3']);
  });

  it('removes what is in line, once', () => {
    const queue = fill(['a1', 'a2', 'b1']);
    expect(queue.remove(97, 'a1')).toBe(true);
    expect(queue.remove(97, 'a1')).toBe(false);
    expect(queue.remove(99, 'c1')).toBe(false);
    expect(queue.size).toBe(2);
    expect(drain(queue)).toEqual(['a2', 'b1']);
  });
});
