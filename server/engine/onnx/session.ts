/** ONNX Runtime as we use it: loaded only when an ONNX engine is made, and sessions that read weights in place. */
import { realpathSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import type { InferenceSession, Tensor } from 'onnxruntime-node';
import { say } from '../../saying';
import { EngineError, MemoryRefusedError, NoGpuAdapterError } from '../errors';

export type Ort = typeof import('onnxruntime-node');
export type Provider = 'cpu' | 'webgpu';
export type Tensors = Record<string, Tensor>;

/** 288 MB of native code: only who needs it loads it. */
export async function loadOrt(): Promise<Ort> {
  try {
    return await import('onnxruntime-node');
  } catch (error) {
    throw new EngineError('ONNX Runtime could not be loaded', error);
  }
}

/** Folder and file name of a weight file, after links: ONNX Runtime refuses links that leave the folder. */
export function locate(path: string): { readonly folder: string; readonly location: string } {
  const real = realpathSync(path);
  return { folder: dirname(real), location: basename(real) };
}

export interface SessionSettings {
  readonly provider: Provider;
  /** Threads of a CPU session. */
  readonly threads: number;
  /** Where the graph's external data is; absent for a graph without weights. */
  readonly folder?: string;
  /** Outputs that are copied to the host; on a GPU all others stay on the device. */
  readonly hostOutputs?: readonly string[];
  /** All outputs of the graph. */
  readonly outputs: readonly string[];
}

/** A session over a graph in memory, whose weights stay in their file. */
export async function openSession(ort: Ort, graph: Uint8Array, settings: SessionSettings): Promise<InferenceSession> {
  const gpu = settings.provider === 'webgpu';
  const session: Record<string, string> = {};
  if (settings.folder !== undefined) session['model_external_initializers_file_folder_path'] = settings.folder;
  if (gpu) {
    // An operator that would run on the CPU after all is an error, not a slow surprise.
    session['disable_cpu_ep_fallback'] = '1';
    session['use_device_allocator_for_initializers'] = '1';
  }
  // Threads that wait for work spin this long before they sleep. ONNX Runtime's default is many times longer and, when
  // other programs want the cores, keeps the very thread waiting that has the work: ten times slower steps.
  else session['intra_op.spin_duration_us'] = '50';
  const hostOutputs = new Set(settings.hostOutputs);
  const location = Object.fromEntries(
    settings.outputs.map((name) => [name, hostOutputs.has(name) ? 'cpu' : 'gpu-buffer'] as const),
  );
  const extra = gpu
    ? { session, ep: { webgpuexecutionprovider: { powerPreference: 'high-performance' } } }
    : { session };
  try {
    return await ort.InferenceSession.create(graph, {
      executionProviders: [settings.provider],
      graphOptimizationLevel: 'all',
      logSeverityLevel: 3,
      // Prompts and caches have another length every time. With ONNX Runtime's arena, runs of steps took three times as
      // long as their neighbours; with malloc most of these went, and memory is given back after a long prompt.
      enableCpuMemArena: false,
      extra,
      ...(gpu ? { preferredOutputLocation: location } : { intraOpNumThreads: settings.threads, interOpNumThreads: 1 }),
    });
  } catch (error) {
    if (gpu && error instanceof Error && /WebGPU adapter|supported adapters/.test(error.message)) {
      throw new NoGpuAdapterError(say('ONNX Runtime found none'));
    }
    if (error instanceof Error && /bad_alloc|bad allocation|allocate memory/i.test(error.message)) {
      throw new MemoryRefusedError({ cause: error });
    }
    throw new EngineError(`ONNX Runtime could not open the model on ${settings.provider}`, error);
  }
}
