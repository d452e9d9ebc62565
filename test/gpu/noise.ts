/** Weight files of random int8 for models of real size: what a card reads and computes is the real model's, the answers are noise. */
import { randomFillSync } from 'node:crypto';
import { closeSync, mkdirSync, openSync, statSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { T5Config } from '../../server/weights/config';
import type { TensorPlace, WeightFile } from '../../server/weights/file';
import { BLOCK, paddedK, tensorsOf } from '../../server/weights/layout';

const NOISE_BYTES = 64 * 1024 * 1024;

/** A weight file of this architecture in `folder`, int8 noise with scales that keep activations near 1; written when it is not there. */
export function noiseFile(config: T5Config, folder: string): WeightFile {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, `noise-${config.dModel}-${config.dFf}-${config.decoderLayers}.safetensors`);
  const places = new Map<string, TensorPlace>();
  let offset = 4096;
  const add = (name: string, dtype: TensorPlace['dtype'], shape: readonly number[], size: number) => {
    const bytes = shape.reduce((a, b) => a * b, size);
    places.set(name, { offset, bytes, dtype, shape });
    offset += Math.ceil(bytes / BLOCK) * BLOCK;
  };
  for (const { name, shape, kind } of tensorsOf(config)) {
    const [n = 0, k = 0] = shape;
    if (kind === 'vector') add(name, 'F32', shape, 4);
    else {
      add(name, 'U8', [n, paddedK(k)], 1);
      add(`${name}.scales`, 'F16', [n, paddedK(k) / BLOCK], 2);
    }
  }
  const written = (() => {
    try {
      return statSync(path).size === offset;
    } catch {
      return false;
    }
  })();
  if (!written) write(path, places, offset);
  return {
    path,
    format: 'int8',
    config,
    fileBytes: offset,
    changedMs: 0,
    dataStart: 4096,
    sha256: '',
    source: '',
    errors: [],
    names: [...places.keys()],
    offsetOf(name) {
      const place = places.get(name);
      if (!place) throw new RangeError(`No tensor ${name}.`);
      return place;
    },
  };
}

function write(path: string, places: ReadonlyMap<string, TensorPlace>, total: number): void {
  const noise = randomFillSync(Buffer.allocUnsafe(NOISE_BYTES));
  // 0 stands for -128, which the quantizer never writes.
  for (let i = 0; i < noise.length; i++) if (noise[i] === 0) noise[i] = 128;
  const scale = new Uint16Array(1 << 20).fill(0x0f00); // fp16 4.3e-4: 73 * 4.3e-4 * sqrt(1024) = 1
  const ones = new Float32Array(1 << 16).fill(1);
  const file = openSync(path, 'w');
  for (const { offset, bytes, dtype } of places.values()) {
    const from = dtype === 'U8' ? noise : Buffer.from((dtype === 'F16' ? scale : ones).buffer);
    for (let at = 0; at < bytes; at += from.length) {
      writeSync(file, from, 0, Math.min(from.length, bytes - at), offset + at);
    }
  }
  writeSync(file, Buffer.alloc(1), 0, 1, total - 1);
  closeSync(file);
}
