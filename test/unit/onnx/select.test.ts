import { describe, expect, it } from 'vitest';
import type { Candidate, Probe } from '../../../server/engine/candidate';
import type { Engine, EngineName } from '../../../server/engine/engine';
import {
  EngineError,
  EngineUnavailableError,
  NoGpuAdapterError,
  OutOfMemoryError,
} from '../../../server/engine/errors';
import { probeWebGpu } from '../../../server/engine/onnx/probe';
import { createEngine } from '../../../server/engine/select';
import { UsageError } from '../../../server/errors';
import { inEnglish, say } from '../../../server/saying';
import { openEngine, weightFile } from '../../parity/models';

/** A candidate that needs 10 bytes and gives an engine of its own name. */
function candidate(name: EngineName, probe: Probe, fails?: Error): Candidate {
  const create = async () => {
    if (fails !== undefined) throw fails;
    return { info: { engine: name } } as Engine;
  };
  return { name, several: true, probe: async () => probe, needBytes: () => 10e9, create };
}
const there = { ok: true, detail: 'a device', freeBytes: 11e9 };

async function select(
  candidates: Candidate[],
  choice: 'auto' | EngineName = 'auto',
  weights: 'int8' | 'fp32' = 'int8',
) {
  const file = await weightFile('relu-tied', weights);
  return createEngine({ choice, weights, file, config: file.config, candidates });
}

describe('auto', () => {
  it('takes the first that is there and fits', async () => {
    const all = [
      candidate('cuda', { ok: false, detail: 'no driver' }),
      candidate('webgpu', there),
      candidate('cpu', there),
    ];
    const { engine, why } = await select(all);
    expect(engine.info.engine).toBe('webgpu');
    expect(why).toBe('cuda is not used: no driver. webgpu is used, on a device: the model needs 10.0 GB of 11.0 GB.');
  });

  it('passes over software adapters, full devices, and ones that fail', async () => {
    const software = candidate('webgpu', { ...there, detail: 'llvmpipe', software: true });
    const full = candidate('cuda', { ...there, freeBytes: 9e9 });
    const { engine, why } = await select([full, software, candidate('cpu', there)]);
    expect(engine.info.engine).toBe('cpu');
    expect(why).toMatch(
      /cuda is not used: a device has 9\.0 GB free.*webgpu is not used: llvmpipe computes on the CPU/,
    );
    const broken = candidate('webgpu', there, new EngineError('It failed', new Error('device lost')));
    expect((await select([broken, candidate('cpu', there)])).why).toMatch(/device lost.*cpu is used/);
  });

  it('says what is missing when nothing fits', async () => {
    await expect(select([candidate('cpu', { ...there, freeBytes: 1 })])).rejects.toThrow(OutOfMemoryError);
    await expect(select([candidate('cuda', { ok: false, detail: 'no driver' })])).rejects.toThrow(
      EngineUnavailableError,
    );
    const broken = candidate('cpu', there, new EngineError('It failed', new Error('bad file')));
    await expect(select([broken])).rejects.toThrow('bad file');
  });

  it('runs float32 on the CPU only', async () => {
    const all = [candidate('webgpu', there), candidate('cpu', there)];
    expect((await select(all, 'auto', 'fp32')).engine.info.engine).toBe('cpu');
    await expect(select(all, 'webgpu', 'fp32')).rejects.toThrow(UsageError);
  });
});

describe('a named engine', () => {
  it('is taken without a reason, software or not', async () => {
    const { engine, why } = await select([candidate('webgpu', { ...there, software: true })], 'webgpu');
    expect(engine.info.engine).toBe('webgpu');
    expect(why).toBe('');
  });

  it('is refused by name of the reason', async () => {
    const none = { ok: false, detail: 'this machine has no Vulkan loader' };
    await expect(select([candidate('webgpu', none)], 'webgpu')).rejects.toThrow(NoGpuAdapterError);
    await expect(select([candidate('cuda', none)], 'cuda')).rejects.toThrow(EngineUnavailableError);
    // The reason travels in parts, for editors in other languages.
    const said = say('exit code {0}', 3);
    await expect(select([candidate('webgpu', { ok: false, detail: inEnglish(said), said })], 'webgpu')).rejects.toThrow(
      expect.objectContaining({
        message: 'No GPU adapter for WebGPU: exit code 3. Choose the cpu engine, or install the driver of the GPU.',
        saying: expect.objectContaining({ args: [said] }),
      }),
    );
    await expect(select([candidate('cpu', { ...there, freeBytes: 1 })], 'cpu')).rejects.toThrow(OutOfMemoryError);
    await expect(select([], 'cuda')).rejects.toThrow(UsageError);
  });
});

describe('this machine', () => {
  it('always has an engine for a small model', async () => {
    const file = await weightFile('relu-tied', 'int8');
    const { engine, why } = await createEngine({ choice: 'auto', weights: 'int8', file, config: file.config });
    expect(why).toContain(`${engine.info.engine} is used, on `);
    await engine.dispose();
  });

  it('is looked at in a child process that may be ended', async () => {
    const started = performance.now();
    const probe = await probeWebGpu(1);
    expect(probe.ok).toBe(false);
    expect(probe.detail).toContain('no answer in');
    expect(probe.said && inEnglish(probe.said)).toBe(probe.detail);
    expect(performance.now() - started).toBeLessThan(5000);
  });

  it('names the CPU and its threads, and reports the load', async () => {
    const fractions: number[] = [];
    const options = { threads: 2, onProgress: (fraction: number) => fractions.push(fraction) };
    const engine = await openEngine('relu-tied', 'int8', 'cpu', options);
    expect(engine.info.device).toMatch(/^CPU.* \(2 threads\)$/);
    expect(fractions).toEqual([0.5, 1]);
    await engine.dispose();
  });
});
