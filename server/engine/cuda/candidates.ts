/** The CUDA engine as a candidate. */
import type { Candidate, Probe } from '../candidate';
import { EngineError } from '../errors';
import { createCudaEngine, cudaNeedBytes, probeCuda } from './engine';
import { CudaError, CudaShapeError, CudaUnavailableError, KernelsMissingError } from './errors';

export function cudaCandidate(): Candidate {
  return {
    name: 'cuda',
    // Each engine makes a context of its own, and the driver's calls go to the one that was made last.
    several: false,
    async probe(): Promise<Probe> {
      const probe = probeCuda();
      if (!probe.ok) {
        const { reason, said } = probe;
        return { ok: false, detail: reason, ...(said && { said }) };
      }
      return { ok: true, detail: probe.device.name, freeBytes: probe.freeBytes, totalBytes: probe.totalBytes };
    },
    needBytes: ({ config }, sourceTokens) => cudaNeedBytes(config, sourceTokens),
    async create({ file, config, onProgress }) {
      try {
        return await createCudaEngine({ file, config, ...(onProgress && { onProgress }) });
      } catch (error) {
        // What lies at this card or driver is a reason to take another engine; a lost context ends the process.
        const here = [CudaUnavailableError, CudaShapeError, KernelsMissingError].some((c) => error instanceof c);
        if (here || (error instanceof CudaError && !error.contextLost)) {
          throw new EngineError('The model did not load on the NVIDIA card', error);
        }
        throw error;
      }
    },
  };
}
