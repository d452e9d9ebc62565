/**
 * Quantizes portions of matrices on several threads. Who reads and writes files gives it rows as they come and gets int8
 * weights back; memory is a few portions, whatever the size of a tensor.
 */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import { FlanError } from '../errors';
import { BLOCK, paddedK } from './layout';
import { type QuantizationSums, UnquantizableError } from './quantize';
import { type FloatType, type Portion, PortionQuantizer, placesOf } from './quantize_portion';
import type { FromQuantizeThread, ToQuantizeThread } from './quantize_thread';
import { DTYPE_BYTES } from './tensorfile';
import { type WasmMemory, wasmEngine } from './wasm';

/** More threads than these wait for the one that hashes and writes. */
const MAX_THREADS = 4;
const PAGE_BYTES = 65536;

/** A thread ended by a fault, of memory for example. */
export class QuantizerThreadError extends FlanError {
  constructor(reason: string) {
    super('quantizer-thread', `A thread of the conversion ended unexpectedly (${reason}). Convert the model again.`);
  }
}

export interface QuantizerOptions {
  /** The built thread (`dist/quantizer.js`). Without it, everything is computed by the caller's own thread. */
  readonly threadFile?: string | undefined;
  /** Instead of one for each core, at most MAX_THREADS. */
  readonly threads?: number;
}

export interface QuantizedRows {
  /** uint8 [rows, paddedK(k)], in shared memory. */
  readonly weights: Uint8Array;
  /** F16 bit patterns [rows, paddedK(k) / BLOCK], in shared memory. */
  readonly scales: Uint16Array;
  /** Of these rows: to be added up over the portions of a tensor in their order, for `errorOf`. */
  readonly sums: QuantizationSums;
  /** Gives the memory of `weights` and `scales` back: they must not be used any more. */
  release(): void;
}

/** Rows that were taken over. */
export interface QuantizeJob {
  /** Rejects with UnquantizableError (its row counts from the first of these rows), or QuantizerThreadError. */
  readonly done: Promise<QuantizedRows>;
}

/** A memory in which one portion at a time is worked on. */
interface Slot {
  readonly id: number;
  memory: WasmMemory | undefined;
  /** The threads that were told of this memory. */
  readonly known: Set<Thread>;
}

interface Thread {
  readonly worker: Worker;
  /** By slot: who waits for its portion. */
  readonly running: Map<number, { resolve(sums: QuantizationSums): void; reject(error: Error): void }>;
}

export class Quantizer {
  readonly #options: QuantizerOptions;
  readonly #free: Slot[];
  readonly #waiting: ((slot: Slot) => void)[] = [];
  #threads: readonly Thread[] | undefined;
  #fault: Error | undefined;
  #closed = false;

  /** Threads are started by the first portion. */
  constructor(options: QuantizerOptions = {}) {
    this.#options = options;
    // One is computed, one waits for its thread; two more are on their way to the disk.
    const slots = 2 * this.#threadCount() + 2;
    this.#free = Array.from({ length: slots }, (_, id) => ({ id, memory: undefined, known: new Set() }));
  }

  /**
   * Quantizes some rows. As `submit`, in one call.
   *
   * @param bytes `dtype` [rows, k], as a checkpoint stores them.
   */
  async quantize(
    bytes: Uint8Array,
    dtype: FloatType,
    shape: readonly [rows: number, k: number],
    factor = 1,
  ): Promise<QuantizedRows> {
    const [rows, k] = shape;
    return await (await this.submit(bytes, { rows, k, dtype, factor })).done;
  }

  /**
   * Takes rows over as soon as there is room: when this resolves, `bytes` may be used again. Every job's rows must be
   * released, also while others wait for room.
   *
   * @param bytes `dtype` [rows, k], as a checkpoint stores them.
   */
  async submit(bytes: Uint8Array, portion: Portion): Promise<QuantizeJob> {
    const { rows, k, dtype } = portion;
    if (bytes.length !== rows * k * DTYPE_BYTES[dtype]) throw new RangeError('bytes and shape do not agree');
    const slot = this.#free.pop() ?? (await new Promise<Slot>((resolve) => this.#waiting.push(resolve)));
    try {
      if (this.#fault) throw this.#fault;
      if (this.#closed) throw new RangeError('the quantizer is closed');
      const memory = memoryFor(slot, portion);
      new Uint8Array(memory.buffer, placesOf(portion).source, bytes.length).set(bytes);
      const done = this.#run(slot, memory, portion);
      done.catch(() => {}); // It is awaited later; until then it must not count as unhandled.
      return { done };
    } catch (error) {
      this.#give(slot);
      throw error;
    }
  }

  /** Ends the threads. What is not done then is rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all((this.#threads ?? []).map(({ worker }) => worker.terminate()));
  }

  async #run(slot: Slot, memory: WasmMemory, portion: Portion): Promise<QuantizedRows> {
    try {
      const sums = await this.#compute(slot, memory, portion);
      const places = placesOf(portion);
      const padded = paddedK(portion.k);
      let released = false;
      return {
        weights: new Uint8Array(memory.buffer, places.weights, portion.rows * padded),
        scales: new Uint16Array(memory.buffer, places.scales, portion.rows * (padded / BLOCK)),
        sums,
        release: () => {
          if (!released) this.#give(slot);
          released = true;
        },
      };
    } catch (error) {
      this.#give(slot);
      throw error;
    }
  }

  async #compute(slot: Slot, memory: WasmMemory, portion: Portion): Promise<QuantizationSums> {
    this.#threads ??= this.#start();
    const idlest = this.#threads.reduce<Thread | undefined>(
      (best, thread) => (best && best.running.size <= thread.running.size ? best : thread),
      undefined,
    );
    if (!idlest) return new PortionQuantizer(memory).quantize(portion);
    const message: ToQuantizeThread = { slot: slot.id, portion, ...(slot.known.has(idlest) ? {} : { memory }) };
    slot.known.add(idlest);
    return await new Promise((resolve, reject) => {
      idlest.running.set(slot.id, { resolve, reject });
      idlest.worker.postMessage(message);
    });
  }

  #threadCount(): number {
    const { threadFile, threads = Math.min(availableParallelism(), MAX_THREADS) } = this.#options;
    return threadFile === undefined ? 0 : threads;
  }

  #start(): readonly Thread[] {
    const { threadFile } = this.#options;
    return Array.from({ length: this.#threadCount() }, (_, i) => {
      const worker = new Worker(threadFile ?? '', { name: `quantizer ${i}` });
      const running: Thread['running'] = new Map();
      worker.on('message', ({ slot, sums, bad }: FromQuantizeThread) => {
        const waiting = running.get(slot);
        running.delete(slot);
        if (sums) waiting?.resolve(sums);
        else if (bad) waiting?.reject(new UnquantizableError(bad.row, bad.column, bad.value));
      });
      const ended = (reason: string) => {
        this.#fault ??= new QuantizerThreadError(reason);
        for (const { reject } of running.values()) reject(this.#fault);
        running.clear();
      };
      worker.on('error', (error) => ended(error instanceof Error ? error.message : String(error)));
      worker.on('exit', (code) => ended(`exit code ${code}`));
      return { worker, running };
    });
  }

  #give(slot: Slot): void {
    const next = this.#waiting.shift();
    if (next) next(slot);
    else this.#free.push(slot);
  }
}

/** The slot's memory, another one if the portion needs more. */
function memoryFor(slot: Slot, portion: Portion): WasmMemory {
  const { bytes } = placesOf(portion);
  if (slot.memory && slot.memory.buffer.byteLength >= bytes) return slot.memory;
  const pages = Math.ceil(bytes / PAGE_BYTES);
  slot.memory = new wasmEngine.Memory({ initial: pages, maximum: pages, shared: true });
  slot.known.clear();
  return slot.memory;
}
