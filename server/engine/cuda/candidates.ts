/** The CUDA engine as a candidate. */
import type { Candidate, Probe } from '../candidate';
import { createCudaEngine, cudaNeedBytes, probeCuda } from './engine';

export function cudaCandidate(): Candidate {
  return {
    name: 'cuda',
    async probe(): Promise<Probe> {
      const probe = probeCuda();
      if (!probe.ok) return { ok: false, detail: probe.reason.replace(/\.$/, '') };
      return { ok: true, detail: probe.device.name, freeBytes: probe.freeBytes };
    },
    needBytes: ({ config, file }) => cudaNeedBytes(config, file),
    create: ({ file, config, onProgress }) => createCudaEngine({ file, config, ...(onProgress && { onProgress }) }),
  };
}
