/**
 * Where every tensor of a weight file lies: computed from the configuration alone, before a byte is written, and compared
 * with what a file says when it is opened.
 */
import { createHash } from 'node:crypto';
import type { WeightFormat } from '../engine/engine';
import type { T5Config } from './config';
import { BLOCK, paddedK, type TensorSpec, tensorsOf } from './layout';
import { DTYPE_BYTES } from './tensorfile';

/** Raised whenever the layout changes: files of another version are made again. */
export const FORMAT_VERSION = 1;

/** The data starts at a multiple of this: the page size that files are mapped with. */
export const DATA_ALIGNMENT = 4096;

/** Room in the header for the worst tensors' errors, which are known only at the end. */
const ERRORS_ROOM = 2048;

export interface PlannedTensor {
  readonly name: string;
  readonly dtype: 'U8' | 'F32' | 'F16';
  readonly shape: readonly number[];
  /** From the start of the data. */
  readonly offset: number;
  readonly bytes: number;
}

export interface WeightPlan {
  readonly config: T5Config;
  readonly format: WeightFormat;
  readonly specs: readonly TensorSpec[];
  /** In file order, without holes. */
  readonly tensors: readonly PlannedTensor[];
  readonly byName: ReadonlyMap<string, PlannedTensor>;
  readonly dataBytes: number;
}

/** The tensors of a weight file in file order: all U8, then all F32, then all F16. */
export function planOf(config: T5Config, format: WeightFormat): WeightPlan {
  const specs = tensorsOf(config);
  const tensors: PlannedTensor[] = [];
  let offset = 0;
  const add = (name: string, dtype: PlannedTensor['dtype'], shape: readonly number[]) => {
    const bytes = shape.reduce((product, n) => product * n, DTYPE_BYTES[dtype]);
    tensors.push({ name, dtype, shape, offset, bytes });
    offset += bytes;
  };
  const quantized = (spec: TensorSpec) => format === 'int8' && spec.kind === 'matrix';
  for (const spec of specs.filter(quantized)) add(spec.name, 'U8', [rowsOf(spec), paddedK(columnsOf(spec))]);
  for (const spec of specs.filter((s) => !quantized(s))) add(spec.name, 'F32', spec.shape);
  for (const spec of specs.filter(quantized)) {
    add(scalesName(spec.name), 'F16', [rowsOf(spec), paddedK(columnsOf(spec)) / BLOCK]);
  }
  const byName = new Map(tensors.map((tensor) => [tensor.name, tensor]));
  return { config, format, specs, tensors, byName, dataBytes: offset };
}

export function scalesName(matrix: string): string {
  return `${matrix}.scales`;
}

/** N of a matrix [N, K]. */
export function rowsOf(spec: TensorSpec): number {
  return spec.shape.length > 1 ? (spec.shape[0] ?? 1) : 1;
}

/** K of a matrix [N, K]. */
export function columnsOf(spec: TensorSpec): number {
  return spec.shape.at(-1) ?? 1;
}

/** What a weight file says of itself; in the file, every value is a string. */
export interface WeightMetadata {
  readonly format: `flan-${WeightFormat}`;
  readonly version: string;
  readonly block: string;
  /** The T5Config as JSON: which tensors there are, and what they mean. */
  readonly config: string;
  /** The identity of the checkpoint that the file was made from. */
  readonly source: string;
  /** The tensors that lost most by quantizing, worst first: JSON of [name, relative RMS error, largest error]. */
  readonly errors: string;
  /** Of the data, hexadecimal. */
  readonly sha256: string;
  /** SHA-256 of the header's JSON, with this value empty. */
  readonly headerSha256: string;
}

/** The whole start of a file, up to the data: length, JSON, spaces. Its size depends on the plan alone. */
export function encodeHeader(plan: WeightPlan, metadata: Omit<WeightMetadata, 'headerSha256'>): Buffer {
  const dataStart = dataStartOf(plan, metadata);
  const json = Buffer.from(headerJson(plan, sealed(plan, metadata)));
  const header = Buffer.alloc(dataStart, ' ');
  header.writeBigUInt64LE(BigInt(dataStart - 8));
  json.copy(header, 8);
  return header;
}

/** Where the data starts: the same for every value that is filled in later. */
export function dataStartOf(plan: WeightPlan, metadata: Omit<WeightMetadata, 'headerSha256'>): number {
  const widest = { ...metadata, errors: '', sha256: '0'.repeat(64), headerSha256: '0'.repeat(64) };
  const length = Buffer.byteLength(headerJson(plan, widest)) + ERRORS_ROOM;
  return Math.ceil((8 + length) / DATA_ALIGNMENT) * DATA_ALIGNMENT;
}

/** As many of the worst tensors as there is room for, as the metadata's `errors`. */
export function encodeErrors(errors: readonly TensorErrorEntry[]): string {
  const worst = [...errors].sort((a, b) => b[1] - a[1]).slice(0, 16);
  // Within JSON the quotes of JSON take two bytes.
  while (JSON.stringify(JSON.stringify(worst)).length > ERRORS_ROOM) worst.pop();
  return JSON.stringify(worst);
}

/** Name, relative RMS error, largest error. */
export type TensorErrorEntry = readonly [name: string, relativeRms: number, maxError: number];

function sealed(plan: WeightPlan, metadata: Omit<WeightMetadata, 'headerSha256'>): WeightMetadata {
  const open = { ...metadata, headerSha256: '' };
  return { ...open, headerSha256: createHash('sha256').update(headerJson(plan, open)).digest('hex') };
}

/** Whether a header, as parsed from a file, is the one that was written. */
export function headerIsWhole(plan: WeightPlan, metadata: WeightMetadata): boolean {
  return sealed(plan, metadata).headerSha256 === metadata.headerSha256;
}

function headerJson(plan: WeightPlan, m: WeightMetadata): string {
  // The keys are spelled out so that their order, and with it the hash, never depends on how an object was built.
  const { format, version, block, config, source, errors, sha256, headerSha256 } = m;
  const header: Record<string, unknown> = {
    __metadata__: { format, version, block, config, source, errors, sha256, headerSha256 },
  };
  for (const { name, dtype, shape, offset, bytes } of plan.tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
  }
  return JSON.stringify(header);
}
