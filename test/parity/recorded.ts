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

export function checkpointDir(name: string): string {
  return join(fixtures, 'checkpoints', name);
}

export interface RecordedTensors {
  readonly names: readonly string[];
  get(name: string): Float32Array;
}

/** Float32 tensors of a recorded safetensors file. */
export function recordedTensors(file: 'small' | 'starter'): RecordedTensors {
  const bytes = readFileSync(join(fixtures, 'reference', `${file}.safetensors`));
  const headerBytes = Number(bytes.readBigUInt64LE(0));
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + headerBytes)) as Record<
    string,
    { dtype: string; data_offsets: [number, number] }
  >;
  return {
    names: Object.keys(header).filter((name) => name !== '__metadata__'),
    get(name) {
      const entry = header[name];
      if (entry === undefined || entry.dtype !== 'F32') throw new Error(`No recorded float32 tensor ${name}.`);
      const [from, to] = entry.data_offsets;
      const start = bytes.byteOffset + 8 + headerBytes;
      return new Float32Array(bytes.buffer.slice(start + from, start + to));
    },
  };
}

function readJson(name: string): unknown {
  return JSON.parse(readFileSync(join(fixtures, 'reference', name), 'utf8'));
}
