/** The engines of ONNX Runtime as candidates: `webgpu` and `cpu`. */
import { freemem, totalmem } from 'node:os';
import { inEnglish } from '../../saying';
import type { Candidate, Probe } from '../candidate';
import { createOnnxEngine } from './engine';
import { onnxNeedBytes } from './need';
import { type GpuProbe, probeWebGpu } from './probe';
import { cpuName, defaultThreads } from './threads';

export function webgpuCandidate(probeGpu: () => Promise<GpuProbe> = probeWebGpu): Candidate {
  let device = 'GPU (WebGPU)';
  return {
    name: 'webgpu',
    // What other models take of a card is not told.
    several: false,
    needBytes: onnxNeedBytes,
    async probe() {
      const probe = await probeGpu();
      if (probe.ok) device = `${probe.detail} (WebGPU)`;
      return probe;
    },
    create: ({ file, config, onProgress }) =>
      createOnnxEngine({ provider: 'webgpu', file, config, device, ...(onProgress && { onProgress }) }),
  };
}

export function cpuCandidate(): Candidate {
  return {
    name: 'cpu',
    // As below: what is free there does not change when a model is loaded.
    several: process.platform !== 'darwin',
    needBytes: onnxNeedBytes,
    async probe(): Promise<Probe> {
      const said = cpuName(defaultThreads());
      return { ok: true, detail: inEnglish(said), said, freeBytes: freeMemory() };
    },
    create: ({ file, config, onProgress }) =>
      createOnnxEngine({ provider: 'cpu', file, config, ...(onProgress && { onProgress }) }),
  };
}

function freeMemory(): number {
  // macOS keeps almost nothing "free"; what it would give up for a program is not told.
  if (process.platform === 'darwin') return totalmem() * 0.75;
  // Knows a container's limit, where this Node has it.
  return Math.min(freemem(), process.availableMemory?.() ?? Number.POSITIVE_INFINITY);
}
