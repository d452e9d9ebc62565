/** The recorded values of transformers in test/fixtures: their shape is in reference/README.md. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

export const root = join(__dirname, '..', '..');
const fixtures = join(root, 'test', 'fixtures');

export interface Greedy {
  readonly ids: readonly number[];
  /** Best logit minus the second best, at every step. */
  readonly gaps: readonly number[];
}
export interface Beam {
  readonly ids: readonly number[];
  readonly score: number;
}
export interface SmallResult {
  readonly logprobs: readonly number[];
  readonly greedy: Greedy;
  readonly beams: readonly Beam[];
}
export interface SmallCase {
  readonly name: string;
  readonly promptIds: readonly number[];
  readonly targets: readonly number[];
  readonly fp32: SmallResult;
  readonly int8: SmallResult;
}
export interface StarterPrompt {
  readonly id: string;
  readonly promptIds: readonly number[];
  readonly top: readonly (readonly [number, number])[];
  readonly greedy: Greedy & { readonly text: string; readonly finish: 'stop' | 'length' };
  readonly original?: Greedy;
  readonly beams?: readonly Beam[];
  readonly score?: { readonly ids: readonly number[]; readonly logprobs: readonly number[]; readonly total: number };
}

export function smallModels(): Readonly<Record<string, { readonly cases: readonly SmallCase[] }>> {
  return (readJson('small.json') as { models: Record<string, { cases: SmallCase[] }> }).models;
}

export function starterPrompts(): readonly StarterPrompt[] {
  return (readJson('starter.json') as { prompts: StarterPrompt[] }).prompts;
}

/** SHA-256 of the tensors that the starter's values were recorded with (`digest` in reference/files.py). */
export function starterDigest(): string {
  return (readJson('starter.json') as { weights: { tensors: string } }).weights.tensors;
}

export interface GeluCase {
  /** Fields of config.json that are changed. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly promptIds: readonly number[];
  readonly targets: readonly number[];
  readonly hidden: readonly (readonly number[])[];
  readonly logits: readonly (readonly number[])[];
  /** How far the approximation moves a logit, relative to the largest. */
  readonly approximate: number;
}

export function geluCases(): Readonly<Record<string, GeluCase>> {
  return readJson('gelu.json') as Record<string, GeluCase>;
}

export function checkpointDir(name: string): string {
  return join(fixtures, 'checkpoints', name);
}

export interface RecordedTensors {
  readonly names: readonly string[];
  get(name: string): Float32Array;
}

/** Float32 tensors of a recorded safetensors file. */
export function recordedTensors(name: 'small' | 'starter'): RecordedTensors {
  const { file, tensors, dtypes } = readTensors(join(fixtures, 'reference', `${name}.safetensors`));
  return {
    names: [...tensors.keys()],
    get(tensor) {
      const bytes = tensors.get(tensor);
      if (bytes === undefined || dtypes.get(tensor) !== 'F32') throw new Error(`No recorded float32 tensor ${tensor}.`);
      return new Float32Array(file.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    },
  };
}

/** A safetensors file, read without the code under test. */
export function readTensors(path: string) {
  const file = readFileSync(path);
  const headerBytes = Number(file.readBigUInt64LE(0));
  const header = JSON.parse(file.toString('utf8', 8, 8 + headerBytes)) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  const entries = Object.entries(header).filter(([name]) => name !== '__metadata__');
  const data = file.subarray(8 + headerBytes);
  const tensors = new Map(
    entries.map(
      ([
        name,
        {
          data_offsets: [from, to],
        },
      ]) => [name, data.subarray(from, to)],
    ),
  );
  return { file, tensors, dtypes: new Map(entries.map(([name, { dtype }]) => [name, dtype])) };
}

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(join(fixtures, 'reference', name), 'utf8'));
}
