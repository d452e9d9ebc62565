/** The scheduling of requests over one model, against a scripted thread whose jobs end when the test says so. */
import { describe, expect, it } from 'vitest';
import { CancelledError, FlanError } from '../../server/errors';
import type { Progress, RunParams } from '../../server/protocol';
import { cancelledResult } from '../../server/runtime/cancelled';
import type { JobName, Jobs, LoadChoice, Loaded } from '../../server/runtime/messages';
import { type CancelToken, ModelService } from '../../server/runtime/service';
import type { SharedStop } from '../../server/runtime/stop';

interface Job {
  readonly name: JobName;
  readonly params: { readonly folders?: readonly { readonly name: string }[]; readonly text?: string };
  readonly stop: SharedStop;
  readonly progress: (progress: Progress) => void;
  readonly done: (result?: unknown) => void;
  readonly failed: (error: Error) => void;
}

const loadedInfo: Loaded = {
  model: 'm',
  dir: '/m',
  demo: false,
  engine: 'cpu',
  device: 'd',
  weights: 'int8',
  why: '',
  loadMs: 7,
  beside: [],
};

class ScriptedThread {
  readonly jobs: Job[] = [];
  onFreed: (beside?: Loaded['beside']) => void = () => {};
  disposed = false;

  job<N extends JobName>(
    name: N,
    params: Jobs[N]['params'],
    stop: SharedStop,
    progress: (progress: Progress) => void = () => {},
  ): Promise<Jobs[N]['result']> {
    return new Promise((resolve, reject) => {
      const given = (params ?? {}) as Job['params'];
      const standard = name === 'load' ? loadedInfo : cancelledResult(given as RunParams, loadedInfo);
      const done = (result: unknown = standard) => resolve(result as Jobs[N]['result']);
      this.jobs.push({ name, params: given, stop, progress, done, failed: reject });
    });
  }

  async dispose(): Promise<void> {
    this.disposed = true;
  }

  last(): Job {
    const job = this.jobs.at(-1);
    if (job === undefined) throw new Error('no job was given');
    return job;
  }
}

class Token implements CancelToken {
  isCancellationRequested = false;
  readonly #listeners = new Set<() => void>();
  onCancellationRequested(listener: () => void) {
    this.#listeners.add(listener);
    return { dispose: () => void this.#listeners.delete(listener) };
  }
  cancel(): void {
    this.isCancellationRequested = true;
    for (const listener of this.#listeners) listener();
  }
}

const tick = () => new Promise((resolve) => setImmediate(resolve));
const params = (text: string, model = 'm'): RunParams => ({ task: 'generate', text, model });

function setUp() {
  const thread = new ScriptedThread();
  const service = new ModelService(thread, async ({ model = 'm', engine = 'auto', weights = 'int8' }) => {
    return { folders: [{ name: model, dir: `/${model}`, demo: false, state: '' }], engine, weights };
  });
  const progress: Record<string, Progress[]> = {};
  /** Resolves when the request is in line; its outcome is `done`. */
  const run = async (client: number, text: string, model = 'm', token = new Token()) => {
    progress[text] = [];
    const done = service.run(client, params(text, model), (p) => progress[text]?.push(p), token);
    done.catch(() => {});
    await tick();
    return { done };
  };
  return { thread, service, progress, run };
}

describe('ModelService', () => {
  it('loads once for all who wait for the same model, and reports the load to each', async () => {
    const { thread, progress, run } = setUp();
    const first = await run(1, 'a');
    const second = await run(2, 'b');
    expect(thread.jobs.map((job) => job.name)).toEqual(['load']);
    thread.last().progress({ kind: 'loading', model: 'm', message: 'Loading m', fraction: 0.5 });
    expect(progress['a']?.at(-1)?.kind).toBe('loading');
    expect(progress['b']?.map((p) => p.kind)).toEqual(['queued', 'loading']);
    thread.last().done();
    await tick();
    expect(thread.last()).toMatchObject({ name: 'run', params: { text: 'a' } });
    thread.last().done();
    expect((await first.done).timings.loadMs).toBe(7);
    await tick();
    expect(thread.last()).toMatchObject({ name: 'run', params: { text: 'b' } });
    thread.last().done();
    expect((await second.done).timings.loadMs).toBe(7);
    const third = await run(1, 'c');
    thread.last().done();
    expect((await third.done).timings.loadMs).toBe(0);
    expect(thread.jobs.filter((job) => job.name === 'load')).toHaveLength(1);
  });

  it('goes on loading when the first client cancels and another waits, and stops when nobody does', async () => {
    const { thread, run } = setUp();
    const token = new Token();
    const first = await run(1, 'a', 'm', token);
    const otherToken = new Token();
    const second = await run(2, 'b', 'm', otherToken);
    const load = thread.last();
    token.cancel();
    expect((await first.done).finishReason).toBe('cancelled');
    expect(load.stop.stopped).toBe(false);
    otherToken.cancel();
    expect((await second.done).finishReason).toBe('cancelled');
    expect(load.stop.stopped).toBe(true);
    load.failed(new CancelledError());
    await tick();
    await run(3, 'c');
    expect(thread.jobs.map((job) => job.name)).toEqual(['load', 'load']);
  });

  it('passes a load error to all who waited for it, and tries again for the next request', async () => {
    const { thread, run } = setUp();
    const both = [await run(1, 'a'), await run(2, 'b')];
    thread.last().failed(new FlanError('no-gpu', 'No GPU.'));
    for (const { done } of both) await expect(done).rejects.toMatchObject({ code: 'no-gpu' });
    expect(thread.jobs).toHaveLength(1);
    await run(1, 'c');
    expect(thread.jobs.map((job) => job.name)).toEqual(['load', 'load']);
  });

  it('serves clients in turn and tells each how many are ahead', async () => {
    const { thread, progress, run } = setUp();
    await run(1, 'a1');
    await run(1, 'a2');
    await run(1, 'a3');
    await run(2, 'b1');
    expect(progress['b1']).toEqual([{ kind: 'queued', ahead: 2 }]);
    expect(progress['a3']?.at(-1)).toEqual({ kind: 'queued', ahead: 3 });
    thread.last().done();
    const served: (string | undefined)[] = [];
    for (let i = 0; i < 4; i++) {
      await tick();
      served.push(thread.last().params.text);
      thread.last().done();
    }
    expect(served).toEqual(['a1', 'a2', 'b1', 'a3']);
  });

  it('cancels in the queue without a job, and while running by the flag', async () => {
    const { thread, run } = setUp();
    const running = new Token();
    const waiting = new Token();
    const first = await run(1, 'a', 'm', running);
    const second = await run(1, 'b', 'm', waiting);
    thread.last().done();
    await tick();
    waiting.cancel();
    expect(await second.done).toMatchObject({ finishReason: 'cancelled', text: '', ids: [] });
    running.cancel();
    expect(thread.last().stop.stopped).toBe(true);
    thread.last().done();
    await first.done;
    await tick();
    expect(thread.jobs).toHaveLength(2);
  });

  it('keeps the order of requests whose models take different time to be found', async () => {
    const thread = new ScriptedThread();
    const waits = [30, 0, 10, 0];
    const service = new ModelService(thread, async () => {
      await new Promise((resolve) => setTimeout(resolve, waits.shift()));
      return { folders: [{ name: 'm', dir: '/m', demo: false, state: '' }], engine: 'auto', weights: 'int8' };
    });
    for (const text of ['a', 'b', 'c', 'd']) {
      service.run(1, params(text), () => {}, new Token()).catch(() => {});
    }
    await new Promise((resolve) => setTimeout(resolve, 80));
    const served: (string | undefined)[] = [];
    thread.last().done();
    for (let i = 0; i < 4; i++) {
      await tick();
      served.push(thread.last().params.text);
      thread.last().done();
    }
    expect(served).toEqual(['a', 'b', 'c', 'd']);
  });

  it('loads anew when another model is asked for, and after the thread ended or freed it', async () => {
    const { thread, service, run } = setUp();
    const models: (string | undefined)[] = [];
    for (const model of ['m', 'n', 'n']) {
      const { done } = await run(1, model, model);
      if (thread.last().name === 'load') {
        models.push(thread.last().params.folders?.[0]?.name);
        thread.last().done();
        await tick();
      }
      thread.last().done();
      await done;
      await tick();
    }
    expect(models).toEqual(['m', 'n']);
    expect(service.status.state).toBe('ready');
    // Another one than the one that was used last: that one stays loaded.
    const left = { model: 'o', dir: '/o', engine: 'cpu', device: 'd' };
    thread.onFreed([left]);
    expect(service.status).toMatchObject({ state: 'ready', model: 'm', beside: [{ model: 'o', device: 'd' }] });
    expect(service.held.map(({ dir }) => dir)).toEqual(['/m', '/o']);
    thread.onFreed();
    expect(service.status).toEqual({ state: 'idle', queued: 0 });
    await run(1, 'x', 'n');
    expect(thread.last()).toMatchObject({ name: 'load', params: { folders: [{ name: 'n' }] } });
  });

  it('takes the default and its name, or auto and the engine that it took, for one', async () => {
    const thread = new ScriptedThread();
    const folder = (name: string, state = '') => ({ name, dir: `/${name}`, demo: false, state });
    const choices: LoadChoice[] = [
      { folders: [folder('m'), folder('starter')], engine: 'auto', weights: 'int8' },
      { folders: [folder('m')], engine: 'auto', weights: 'int8' },
      { folders: [folder('m')], engine: 'cpu', weights: 'int8' },
      // From here on each is something else than what is loaded.
      { folders: [folder('m')], engine: 'cuda', weights: 'int8' },
      { folders: [folder('m')], engine: 'auto', weights: 'int8' },
      { folders: [folder('m', 'changed')], engine: 'auto', weights: 'int8' },
      { folders: [folder('m', 'changed')], engine: 'auto', weights: 'fp32' },
    ];
    const loads: number[] = [];
    let at = 0;
    const service = new ModelService(thread, async () => choices[at] as LoadChoice);
    for (; at < choices.length; at++) {
      const before = thread.jobs.length;
      const done = service.run(1, params('text'), () => {}, new Token());
      await tick();
      if (thread.last().name === 'load') {
        loads.push(at);
        const engine = choices[at]?.engine === 'cuda' ? 'cuda' : 'cpu';
        thread.last().done({ ...loadedInfo, engine });
        await tick();
      }
      expect(thread.jobs.length).toBeGreaterThan(before);
      thread.last().done();
      await done;
      await tick();
    }
    expect(loads).toEqual([0, 3, 4, 5, 6]);
  });

  it('joins text that comes faster than it can be shown, and loses none of it', async () => {
    const { thread, progress, run } = setUp();
    const { done } = await run(1, 'a');
    thread.last().done();
    await tick();
    for (let i = 0; i < 500; i++) thread.last().progress({ kind: 'text', append: `${i} ` });
    thread.last().done();
    await done;
    const texts = (progress['a'] ?? []).filter((p) => p.kind === 'text');
    expect(texts.length).toBeLessThan(10);
    expect(texts.map((p) => p.append).join('')).toBe(Array.from({ length: 500 }, (_, i) => `${i} `).join(''));
  });

  it('refuses everything once it is disposed', async () => {
    const { thread, service, run } = setUp();
    const first = await run(1, 'a');
    const second = await run(2, 'b');
    await service.dispose();
    expect(thread.disposed).toBe(true);
    expect((await first.done).finishReason).toBe('cancelled');
    expect((await second.done).finishReason).toBe('cancelled');
    expect((await (await run(1, 'c')).done).finishReason).toBe('cancelled');
  });

  it('says when the device refuses this process, after the request has its error', async () => {
    const { thread, service, run } = setUp();
    const order: string[] = [];
    service.onDeviceLost = () => order.push('lost');
    const { done } = await run(1, 'a');
    const refused = done.catch((error: FlanError) => error.code);
    thread.last().failed(new FlanError('cuda', 'busy'));
    expect(await refused).toBe('cuda');
    const again = (await run(1, 'b')).done.catch((error: FlanError) => order.push(error.code));
    thread.last().failed(new FlanError('cuda-context-lost', 'gone'));
    await again;
    await tick();
    expect(order.sort()).toEqual(['cuda-context-lost', 'lost']);
  });
});
