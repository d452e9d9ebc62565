import { describe, expect, it } from 'vitest';
import type { Progress } from '../../server/protocol';
import { paceLoading, TextPacer } from '../../server/runtime/pacer';

describe('TextPacer', () => {
  it('sends the first text at once, joins what follows, and keeps its place among other progress', async () => {
    const sent: Progress[] = [];
    const pacer = new TextPacer((progress) => sent.push(progress));
    pacer.send({ kind: 'text', append: 'a' });
    expect(sent).toEqual([{ kind: 'text', append: 'a' }]);
    pacer.send({ kind: 'text', append: 'b' });
    pacer.send({ kind: 'text', append: 'c' });
    expect(sent).toHaveLength(1);
    pacer.send({ kind: 'queued', ahead: 1 });
    expect(sent.slice(1)).toEqual([
      { kind: 'text', append: 'bc' },
      { kind: 'queued', ahead: 1 },
    ]);
    pacer.send({ kind: 'text', append: 'd' });
    await new Promise((resolve) => setTimeout(resolve, 60));
    expect(sent.at(-1)).toEqual({ kind: 'text', append: 'd' });
    pacer.send({ kind: 'text', append: 'e' });
    pacer.send({ kind: 'text', append: 'f' });
    pacer.flush();
    pacer.flush();
    const text = sent.map((progress) => (progress.kind === 'text' ? progress.append : '')).join('');
    expect(text).toBe('abcdef');
  });
});

describe('paceLoading', () => {
  it('leaves out steps in between, never a new sentence or the end', () => {
    const sent: Progress[] = [];
    const send = paceLoading((progress) => sent.push(progress));
    const step = (message: string, fraction: number) => send({ kind: 'loading', model: 'm', message, fraction });
    for (let i = 0; i <= 1000; i++) step('Checking', i / 1000);
    step('Loading', 0);
    step('Loading', 0.5);
    step('Loading', 1);
    const seen = sent.map((progress) => (progress.kind === 'loading' ? [progress.message, progress.fraction] : []));
    expect(seen[0]).toEqual(['Checking', 0]);
    expect(seen.slice(-3)).toEqual([
      ['Checking', 1],
      ['Loading', 0],
      ['Loading', 1],
    ]);
    expect(seen.length).toBeLessThan(20);
  });
});
