/**
 * The engine on ONNX Runtime: the CPU, or any GPU through WebGPU. `session.run` blocks its thread, and two threads must
 * not run WebGPU at once, so one worker thread owns an engine.
 */
import type { InferenceSession } from 'onnxruntime-node';
import { CancelledError } from '../../errors';
import { inEnglish } from '../../saying';
import type { T5Config } from '../../weights/config';
import type { Decoder, Engine, EngineInfo, Memory, StopSignal } from '../engine';
import { DisposedError } from '../errors';
import { checkIds, OnnxDecoder, run } from './decoder';
import {
  cacheGraph,
  crossKeyName,
  crossValueName,
  decoderGraph,
  encoderGraph,
  type GraphSource,
  keyName,
  valueName,
} from './graphs';
import type { Activations, AttentionForm, WeightRanges } from './layers';
import { encoderBuckets } from './positions';
import { loadOrt, locate, type Ort, openSession, type Provider, type Tensors } from './session';
import { cpuName, defaultThreads } from './threads';

/** A weight file as this engine needs it. */
export interface WeightFileRanges extends WeightRanges {
  readonly path: string;
}

export interface OnnxEngineOptions {
  readonly provider: Provider;
  readonly file: WeightFileRanges;
  readonly config: T5Config;
  /** Threads of the CPU; default: one a physical core. */
  readonly threads?: number;
  /** The GPU's name, from the probe. */
  readonly device?: string;
  /** How activations meet int8 weights; default: the fastest that answers as float32 does. */
  readonly activations?: Activations;
  readonly attention?: AttentionForm;
  /** Encoder blocks a session holds at most: a request can be cancelled between sessions. */
  readonly blocksPerPart?: number;
  /** Called with the share of the model that is loaded, 0 to 1. */
  readonly onProgress?: (fraction: number) => void;
}

/** Opens the sessions over a weight file. The file must stay where it is until the engine is disposed. */
export async function createOnnxEngine(options: OnnxEngineOptions): Promise<Engine> {
  const { provider, file, config } = options;
  const ort = await loadOrt();
  const threads = options.threads ?? defaultThreads();
  const { folder, location } = locate(file.path);
  const activations = options.activations ?? (provider === 'cpu' ? 'split' : 'float');
  const attention = options.attention ?? (provider === 'cpu' ? 'fused' : 'plain');
  const source: GraphSource = { config, weights: file, location, activations, attention };

  const parts = split(config.encoderLayers, options.blocksPerPart ?? blocksPerPart(config));
  const opened: InferenceSession[] = [];
  const progress = () => options.onProgress?.(opened.length / (parts.length + 1));
  try {
    for (const [from, to] of parts) {
      const last = to === config.encoderLayers;
      const outputs = last ? ['hidden', ...crossNames(config)] : ['next_stream', 'next_addend'];
      const hostOutputs = last ? ['hidden'] : [];
      const graph = encoderGraph(source, from, to);
      opened.push(await openSession(ort, graph.bytes, { provider, threads, folder, outputs, hostOutputs }));
      progress();
    }
    const graph = decoderGraph(source);
    const outputs = ['logits', ...cacheNames(config)];
    const stepThreads = Math.min(threads, Math.ceil(graph.weightBytes / BYTES_PER_STEP_THREAD));
    const settings = { provider, threads: stepThreads, folder, outputs, hostOutputs: ['logits'] };
    opened.push(await openSession(ort, graph.bytes, settings));
    progress();
    const info: EngineInfo = {
      engine: provider,
      device: provider === 'cpu' ? inEnglish(cpuName(threads)) : (options.device ?? 'GPU (WebGPU)'),
      weights: file.format,
      stepWeightBytes: graph.weightBytes,
      cachedValueBytes: 4,
    };
    return new OnnxEngine(ort, config, info, threads, opened);
  } catch (error) {
    for (const session of opened) await session.release();
    throw error;
  }
}

class OnnxEngine implements Engine {
  readonly info: EngineInfo;
  readonly config: T5Config;
  readonly #ort: Ort;
  readonly #threads: number;
  readonly #encoder: readonly InferenceSession[];
  readonly #step: InferenceSession;
  #cache: Promise<InferenceSession> | undefined;
  #disposed = false;

  constructor(ort: Ort, config: T5Config, info: EngineInfo, threads: number, sessions: readonly InferenceSession[]) {
    this.#ort = ort;
    this.config = config;
    this.info = info;
    this.#threads = threads;
    this.#encoder = sessions.slice(0, -1);
    this.#step = sessions[sessions.length - 1] as InferenceSession;
  }

  async encode(ids: Int32Array, signal?: StopSignal): Promise<Memory> {
    this.#check();
    if (ids.length === 0) throw new RangeError('An empty prompt has nothing to encode.');
    checkIds(ids, this.config.vocabSize);
    const { Tensor } = this.#ort;
    const length = ids.length;
    const buckets = new Tensor('int32', encoderBuckets(length, this.config), [length, length]);
    let feeds: Tensors = { ids: new Tensor('int32', ids, [1, length]) };
    let outputs: Tensors = {};
    for (const [i, part] of this.#encoder.entries()) {
      if (signal?.stopped) {
        if (i > 0) dispose(feeds);
        throw new CancelledError();
      }
      outputs = await run(part, { ...feeds, buckets });
      if (i > 0) dispose(feeds);
      if (i < this.#encoder.length - 1) feeds = nextPart(outputs);
    }
    if (signal?.stopped) {
      dispose(outputs);
      throw new CancelledError();
    }
    return new OnnxMemory(length, outputs);
  }

  async decoder(memory: Memory, rows: number, capacity: number): Promise<Decoder> {
    this.#check();
    if (!(memory instanceof OnnxMemory)) throw new TypeError('This memory is from another engine.');
    if (rows < 1 || capacity < 1) throw new RangeError('A decoder has at least one row and room for one token.');
    const parts = {
      ort: this.#ort,
      config: this.config,
      step: this.#step,
      cache: () => this.#openCache(),
      onDevice: this.info.engine === 'webgpu',
      cross: () => memory.cross(),
    };
    return new OnnxDecoder(parts, rows, capacity);
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    const cache = await this.#cache;
    for (const session of [...this.#encoder, this.#step, ...(cache ? [cache] : [])]) await session.release();
  }

  #openCache(): Promise<InferenceSession> {
    this.#cache ??= openSession(this.#ort, cacheGraph(this.config).bytes, {
      provider: this.info.engine === 'webgpu' ? 'webgpu' : 'cpu',
      threads: this.#threads,
      outputs: cacheNames(this.config),
    });
    return this.#cache;
  }

  #check(): void {
    if (this.#disposed) throw new DisposedError('engine');
  }
}

class OnnxMemory implements Memory {
  readonly length: number;
  readonly #hidden: Float32Array;
  #cross: Tensors | undefined;

  constructor(length: number, outputs: Tensors) {
    const { hidden, ...cross } = outputs;
    if (!(hidden?.data instanceof Float32Array)) throw new TypeError('The encoder gave no output.');
    this.length = length;
    this.#hidden = hidden.data;
    this.#cross = cross;
  }

  /** Keys and values by their names as inputs of a step. */
  cross(): Tensors {
    if (this.#cross === undefined) throw new DisposedError('memory');
    return this.#cross;
  }

  async hidden(): Promise<Float32Array> {
    this.cross();
    return this.#hidden.slice();
  }

  dispose(): void {
    if (this.#cross !== undefined) dispose(this.#cross);
    this.#cross = undefined;
  }
}

/**
 * One thread reads so much in about a millisecond. Sharing less costs in waiting what it saves in reading, and on a busy
 * machine far more.
 */
const BYTES_PER_STEP_THREAD = 16e6;

/** A part of the encoder reads at most about 2 GB of int8 weights: seconds on a CPU, between two looks at the signal. */
const PART_WEIGHTS = 2e9;

function blocksPerPart({ dModel, dFf, dKv, numHeads, gated }: T5Config): number {
  const weights = 4 * dModel * dKv * numHeads + (gated ? 3 : 2) * dModel * dFf;
  return Math.max(1, Math.floor(PART_WEIGHTS / weights));
}

/** The block ranges of `total` blocks in parts of at most `most`. */
function split(total: number, most: number): [number, number][] {
  const parts: [number, number][] = [];
  for (let from = 0; from < total; from += most) parts.push([from, Math.min(from + most, total)]);
  return parts;
}

function nextPart(outputs: Tensors): Tensors {
  const { next_stream: stream, next_addend: addend } = outputs;
  if (stream === undefined || addend === undefined) throw new TypeError('A part of the encoder gave no output.');
  return { stream, addend };
}

function dispose(tensors: Tensors): void {
  for (const tensor of Object.values(tensors)) tensor.dispose();
}

function crossNames(config: T5Config): string[] {
  return Array.from({ length: config.decoderLayers }, (_, i) => [crossKeyName(i), crossValueName(i)]).flat();
}

function cacheNames(config: T5Config): string[] {
  return Array.from({ length: config.decoderLayers }, (_, i) => [keyName(i), valueName(i)]).flat();
}
