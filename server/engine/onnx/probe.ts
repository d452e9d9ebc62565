/**
 * Asks, in a process that may die, whether WebGPU works here and on what. A bad driver can end the process that touches
 * it, so the first touch is never in ours.
 */
import { spawn } from 'node:child_process';
import { cpus, freemem, totalmem } from 'node:os';
import { inEnglish, type Saying, say } from '../../saying';
import { Graph } from './graph';
import { PROBE_SCRIPT } from './probe-script';

export interface GpuProbe {
  /** A session was opened and ran. */
  readonly ok: boolean;
  /** The GPU's name, or why there is none: one sentence without the final stop. */
  readonly detail: string;
  /** The same for front ends that speak other languages; absent for a mere name. */
  readonly said?: Saying;
  /** Computes on the CPU: good for tests, slower than the cpu engine. */
  readonly software: boolean;
  /** Memory that a model may take, if the driver tells. */
  readonly freeBytes?: number;
}

/** What the child prints. */
interface ProbeAnswer {
  /** Why there is no GPU to be used, a key of `NONE`. */
  readonly none?: string;
  /** What ONNX Runtime says. */
  readonly error?: string;
  readonly adapters?: readonly { readonly name: string; readonly type: number; readonly localBytes: number }[];
}

const NONE: ReadonlyMap<string, Saying> = new Map([
  ['loader', say('this machine has no Vulkan loader (libvulkan.so.1)')],
  ['device', say('Vulkan finds no device')],
  ['wrong', say('the GPU computes wrongly')],
  ['driver', say('no driver here that WebGPU can use')],
]);

/** `VkPhysicalDeviceType`, from what WebGPU takes first when asked for performance to what it takes last. */
const PREFERENCE = [2, 1, 3, 0, 4];
const SOFTWARE_TYPE = 4;
/** A first start of a GPU driver takes a second or two; one that hangs must not hold up the load. */
const TIMEOUT_MS = 20_000;

/** Opens and runs a one-node graph through WebGPU in a child process. Never rejects. */
export async function probeWebGpu(timeoutMs = TIMEOUT_MS): Promise<GpuProbe> {
  const { output, end } = await runChild(timeoutMs);
  const none = (said: Saying): GpuProbe => ({ ok: false, detail: inEnglish(said), said, software: false });
  if (end !== undefined) return none(say('the GPU driver failed in a trial ({0})', end));
  let answer: ProbeAnswer;
  try {
    answer = JSON.parse(output.split('\n').findLast((line) => line.startsWith('{')) ?? '') as ProbeAnswer;
  } catch {
    return none(say('the trial of the GPU driver gave no answer'));
  }
  const known = NONE.get(answer.none ?? '');
  if (known !== undefined) return none(known);
  if (answer.error !== undefined) return { ok: false, detail: answer.error, software: false };
  return describe(answer);
}

function describe(answer: ProbeAnswer): GpuProbe {
  if (process.platform === 'darwin') {
    // One memory for both; macOS lets a GPU use about three quarters of it.
    return { ok: true, detail: cpus()[0]?.model ?? 'GPU', software: false, freeBytes: totalmem() * 0.75 };
  }
  const ranked = [...(answer.adapters ?? [])].sort((a, b) => PREFERENCE.indexOf(a.type) - PREFERENCE.indexOf(b.type));
  const best = ranked[0];
  if (best === undefined) return { ok: true, detail: 'GPU', software: false };
  const software = best.type === SOFTWARE_TYPE;
  const freeBytes = best.type === 2 ? best.localBytes : Math.min(best.localBytes, freemem());
  return { ok: true, detail: best.name, software, freeBytes };
}

function runChild(timeoutMs: number): Promise<{ output: string; end?: string | Saying }> {
  const graph = new Graph('probe', '');
  graph.op('Relu', 'y', [graph.input('x', 'float', [1])]);
  graph.output('y', 'float', [1]);
  return new Promise((resolve) => {
    const child = spawn(process.execPath, ['-e', PROBE_SCRIPT, Buffer.from(graph.encode()).toString('base64')], {
      // Modules are looked up from the working folder, which must be ours.
      cwd: __dirname,
      env: { ...process.env, ELECTRON_RUN_AS_NODE: '1', NODE_OPTIONS: '' },
      stdio: ['ignore', 'pipe', 'ignore'],
      windowsHide: true,
    });
    let output = '';
    let late = false;
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, timeoutMs);
    const done = (end?: string | Saying) => {
      clearTimeout(timer);
      resolve(end === undefined ? { output } : { output, end });
    };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.on('error', (error) => done(error.message));
    child.on('close', (code, signal) => {
      if (late) done(say('no answer in {0} s', timeoutMs / 1000));
      else if (code !== 0) done(signal ?? say('exit code {0}', code ?? ''));
      else done();
    });
  });
}
