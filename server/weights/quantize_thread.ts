/** A thread of the quantizer: portions in, sums out; the weights stay in the shared memory (see quantize_portion.ts). */
import { parentPort } from 'node:worker_threads';
import { type QuantizationSums, UnquantizableError } from './quantize';
import { type Portion, PortionQuantizer } from './quantize_portion';
import type { WasmMemory } from './wasm';

export interface ToQuantizeThread {
  readonly slot: number;
  /** With the first portion of a slot, and whenever the slot got another memory. */
  readonly memory?: WasmMemory;
  readonly portion: Portion;
}

export interface FromQuantizeThread {
  readonly slot: number;
  readonly sums?: QuantizationSums;
  readonly bad?: { readonly row: number; readonly column: number; readonly value: number };
}

function serve(port: NonNullable<typeof parentPort>): void {
  const slots = new Map<number, PortionQuantizer>();
  port.on('message', ({ slot, memory, portion }: ToQuantizeThread) => {
    if (memory) slots.set(slot, new PortionQuantizer(memory));
    const quantizer = slots.get(slot);
    if (!quantizer) throw new RangeError(`slot ${slot} has no memory`);
    let answer: FromQuantizeThread;
    try {
      answer = { slot, sums: quantizer.quantize(portion) };
    } catch (error) {
      if (!(error instanceof UnquantizableError)) throw error;
      const { row, column, value } = error;
      answer = { slot, bad: { row, column, value } };
    }
    port.postMessage(answer);
  });
}

if (parentPort !== null) serve(parentPort);
