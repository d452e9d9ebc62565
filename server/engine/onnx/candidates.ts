/** The engines of ONNX Runtime as candidates: `webgpu` and `cpu`. */
import { freemem, totalmem } from 'node:os';
import type { Candidate, EngineRequest, Probe } from '../candidate';
import { createOnnxEngine } from './engine';
import { type GpuProbe, probeWebGpu } from './probe';
import { cpuName, defaultThreads } from './threads';

/** Weights are laid out anew for the multiplication, and their scales become float32. */
const WEIGHT_FACTOR = 1.1;
/** Sessions, graphs, vocabulary-wide outputs. */
const FIXED_BYTES = 100e6;
/** Room for a prompt of so many tokens, which takes about so many values of the widest layer for each of them. */
const REQUEST_TOKENS = 512;
const VALUES_PER_TOKEN = 24;

export function webgpuCandidate(probeGpu: () => Promise<GpuProbe> = probeWebGpu): Candidate {
  let device = 'GPU (WebGPU)';
  return {
    name: 'webgpu',
    needBytes,
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
    needBytes,
    async probe(): Promise<Probe> {
      return { ok: true, detail: cpuName(defaultThreads()), freeBytes: freeMemory() };
    },
    create: ({ file, config, onProgress }) =>
      createOnnxEngine({ provider: 'cpu', file, config, ...(onProgress && { onProgress }) }),
  };
}

function needBytes({ file, config }: EngineRequest): number {
  const widest = Math.max(config.dFf, config.numHeads * REQUEST_TOKENS);
  const activations = REQUEST_TOKENS * VALUES_PER_TOKEN * widest * Float32Array.BYTES_PER_ELEMENT;
  return file.fileBytes * WEIGHT_FACTOR + activations + FIXED_BYTES;
}

function freeMemory(): number {
  // macOS keeps almost nothing "free"; what it would give up for a program is not told.
  if (process.platform === 'darwin') return totalmem() * 0.75;
  // Knows a container's limit, where this Node has it.
  return Math.min(freemem(), process.availableMemory?.() ?? Number.POSITIVE_INFINITY);
}
