/** Which engine runs a model on this machine, and why. */
import { CancelledError, FlanError, UsageError } from '../errors';
import type { EngineChoice } from '../protocol';
import { say } from '../saying';
import type { Candidate, EngineRequest, ModelSize, Probe } from './candidate';
import { cudaCandidate } from './cuda/candidates';
import type { Engine } from './engine';
import { EngineUnavailableError, gigabytes, NoGpuAdapterError, OutOfMemoryError } from './errors';
import { cpuCandidate, webgpuCandidate } from './onnx/candidates';

export interface Selection {
  readonly engine: Engine;
  /** One sentence for each engine that was looked at: why not, or that it was taken. Empty when it was named. */
  readonly why: string;
}

/** All engines, the one to be taken first in front. */
export function candidates(): Candidate[] {
  return [cudaCandidate(), webgpuCandidate(), cpuCandidate()];
}

/**
 * Loads a model on the engine that was chosen; `auto` takes the first that is there and that the model fits in.
 * float32 weights run on `cpu` only: they are the reference.
 *
 * @throws NoGpuAdapterError, EngineUnavailableError, OutOfMemoryError, UsageError, and what the last candidate's `create` throws
 */
export async function createEngine(
  request: EngineRequest & { readonly choice: EngineChoice; readonly candidates?: readonly Candidate[] },
): Promise<Selection> {
  const all = request.candidates ?? candidates();
  if (request.choice !== 'auto') {
    const candidate = all.find(({ name }) => name === request.choice);
    if (candidate === undefined) throw new UsageError(`There is no engine ${request.choice} in this build.`);
    return { engine: await createNamed(candidate, request), why: '' };
  }
  const why: string[] = [];
  let tooLarge: OutOfMemoryError | undefined;
  for (const candidate of all) {
    if (request.weights === 'fp32' && candidate.name !== 'cpu') continue;
    const probe = await candidate.probe();
    const need = candidate.needBytes(sizeOf(request));
    const reason = whyNot(candidate, probe, need);
    if (reason === undefined) {
      const fits =
        probe.freeBytes === undefined ? '' : `: the model needs ${gigabytes(need)} of ${gigabytes(probe.freeBytes)}`;
      try {
        const engine = await candidate.create(request);
        return { engine, why: [...why, `${candidate.name} is used, on ${probe.detail}${fits}.`].join(' ') };
      } catch (error) {
        // A GPU that fails while it loads is like one that is not there; the last engine's failure is the answer.
        if (!(error instanceof FlanError) || error instanceof CancelledError || candidate === all.at(-1)) throw error;
        why.push(`${candidate.name} is not used: ${error.message}`);
        continue;
      }
    }
    why.push(`${candidate.name} is not used: ${reason}.`);
    if (probe.ok && !probe.software) tooLarge = new OutOfMemoryError(say('This model'), need, probe.freeBytes ?? 0);
  }
  throw tooLarge ?? new EngineUnavailableError(why.join(' '));
}

async function createNamed(candidate: Candidate, request: EngineRequest): Promise<Engine> {
  if (request.weights === 'fp32' && candidate.name !== 'cpu') {
    throw new UsageError('float32 weights run on the cpu engine only: choose cpu, or int8 weights.');
  }
  const probe = await candidate.probe();
  if (!probe.ok) {
    const reason = probe.said ?? probe.detail;
    if (candidate.name === 'webgpu') throw new NoGpuAdapterError(reason);
    throw new EngineUnavailableError(say('{0} cannot be used: {1}.', candidate.name, reason));
  }
  const need = candidate.needBytes(sizeOf(request));
  if (probe.freeBytes !== undefined && need > probe.freeBytes) {
    throw new OutOfMemoryError(say('This model on {0}', candidate.name), need, probe.freeBytes);
  }
  return candidate.create(request);
}

function sizeOf({ config, file }: EngineRequest): ModelSize {
  return { config, fileBytes: file.fileBytes };
}

function whyNot(candidate: Candidate, probe: Probe, need: number): string | undefined {
  if (!probe.ok) return probe.detail;
  if (probe.software) return `${probe.detail} computes on the CPU`;
  if (probe.freeBytes !== undefined && need > probe.freeBytes) {
    return `${candidate.name === 'cpu' ? 'main memory' : probe.detail} has ${gigabytes(probe.freeBytes)} free, and the model needs ${gigabytes(need)}`;
  }
  return undefined;
}
