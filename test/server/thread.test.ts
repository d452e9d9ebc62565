/** The model thread's proxy over threads that fail: the worker file is the seam. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { RunParams } from '../../server/protocol';
import { SharedStop } from '../../server/runtime/stop';
import { ModelThread } from '../../server/runtime/thread';

/** Answers a run with its own text, except for a few words that make it fail. */
const WORKER = `
const { parentPort } = require('node:worker_threads');
parentPort.on('message', ({ id, params, stop }) => {
  if (params.text === 'throw') throw new Error('a fault in the thread');
  if (params.text === 'exit') process.exit(7);
  if (params.text === 'refuse') return parentPort.postMessage({ id, kind: 'error', code: 'usage', message: 'Not like this.' });
  if (params.text === 'wait') {
    const flag = new Int32Array(stop);
    parentPort.postMessage({ id, kind: 'progress', progress: { kind: 'text', append: 'waiting' } });
    while (Atomics.load(flag, 0) === 0) {}
  }
  parentPort.postMessage({ id, kind: 'result', result: { text: params.text } });
});
`;

let dir: string;
let thread: ModelThread;
let log: string[];
beforeEach(() => {
  log = [];
  dir = mkdtempSync(join(tmpdir(), 'flan-thread-'));
  writeFileSync(join(dir, 'worker.js'), WORKER);
  thread = new ModelThread(join(dir, 'worker.js'), { cacheDir: dir }, (line) => log.push(line));
});
afterEach(async () => {
  rmSync(dir, { recursive: true, force: true });
});

const run = (text: string, stop = new SharedStop(), progress?: () => void) => {
  const params: RunParams = { task: 'generate', text };
  return thread.job('run', params, stop, progress);
};

describe('ModelThread', () => {
  it('answers jobs and passes errors on by their code', async () => {
    expect((await run('hello')).text).toBe('hello');
    await expect(run('refuse')).rejects.toMatchObject({ code: 'usage', message: 'Not like this.', name: 'UsageError' });
    expect((await run('still here')).text).toBe('still here');
  });

  it('stops a busy thread through shared memory', async () => {
    const stop = new SharedStop();
    const result = run('wait', stop, () => stop.stop());
    expect((await result).text).toBe('wait');
  });

  it('rejects all that wait when the thread ends, says it is free, and starts again at the next job', async () => {
    let freed = 0;
    thread.onFreed = () => freed++;
    const both = [run('throw'), run('hello')];
    for (const one of both) await expect(one).rejects.toMatchObject({ code: 'model-thread' });
    await expect(both[0]).rejects.toThrow(/a fault in the thread.*again/);
    expect(freed).toBe(1);
    expect(log.join('\n')).toMatch(/a fault in the thread/);
    expect((await run('hello')).text).toBe('hello');
    await expect(run('exit')).rejects.toThrow(/exit code 7/);
    expect(freed).toBe(2);
    expect((await run('hello')).text).toBe('hello');
  });

  it('gives up after three faults in a row, and says so', async () => {
    for (let i = 0; i < 3; i++) await expect(run('exit')).rejects.toMatchObject({ code: 'model-thread' });
    await expect(run('hello')).rejects.toMatchObject({ code: 'model-thread-broken' });
    await thread.dispose();
  });
});
