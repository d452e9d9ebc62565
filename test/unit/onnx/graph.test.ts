import { describe, expect, it } from 'vitest';
import { Graph } from '../../../server/engine/onnx/graph';
import { cacheGraph, decoderGraph, encoderGraph, type GraphSource } from '../../../server/engine/onnx/graphs';
import { decodeModel } from '../../../server/engine/onnx/onnx.proto';
import { decoderBuckets, encoderBuckets, relativeBucket } from '../../../server/engine/onnx/positions';
import type { T5Config } from '../../../server/weights/config';
import { planOf } from '../../../server/weights/plan';
import { FLAN_UL2 } from '../../fixtures/family';

const CONFIG: T5Config = {
  ...FLAN_UL2,
  vocabSize: 64,
  dModel: 40,
  dKv: 8,
  dFf: 96,
  numHeads: 3,
  encoderLayers: 3,
  decoderLayers: 2,
  declaredPositions: undefined,
};

interface Decoded {
  graph: {
    node: { opType: string; name: string; input?: string[]; output: string[] }[];
    initializer: { name: string; dims?: number[]; externalData?: { key: string; value: string }[] }[];
    input: { name: string }[];
    output: { name: string }[];
  };
}
const decode = (bytes: Uint8Array) => (decodeModel(bytes) as Decoded).graph;

/** Ranges of a file that follows the plan of the real writer, without the file. */
function sourceOf(config: T5Config, format: 'int8' | 'fp32'): GraphSource {
  const ranges = new Map<string, { offset: number; bytes: number; shape: readonly number[] }>();
  let offset = 4096;
  for (const { name, bytes, shape } of planOf(config, format).tensors) {
    ranges.set(name, { offset, bytes, shape });
    offset += bytes;
  }
  const offsetOf = (name: string) => {
    const range = ranges.get(name);
    if (range === undefined) throw new Error(`no ${name}`);
    return range;
  };
  return {
    config,
    weights: { format, offsetOf },
    location: 'model.safetensors',
    activations: 'split',
    attention: 'fused',
  };
}

describe('a written graph', () => {
  it('reads every byte of the weight file at its place', () => {
    for (const format of ['int8', 'fp32'] as const) {
      for (const config of [CONFIG, { ...CONFIG, tied: false, positionBias: 'every', gated: false } as const]) {
        const source = sourceOf(config, format);
        const covered = new Set<number>();
        for (const bytes of [encoderGraph(source, 0, 3).bytes, decoderGraph(source).bytes]) {
          for (const { externalData } of decode(bytes).initializer) {
            if (externalData === undefined) continue;
            const value = Object.fromEntries(externalData.map(({ key, value }) => [key, value]));
            expect(value['location']).toBe('model.safetensors');
            for (let at = 0; at < Number(value['length']); at++) covered.add(Number(value['offset']) + at);
          }
        }
        const total = planOf(config, format).tensors.reduce((sum, { bytes }) => sum + bytes, 0);
        expect(covered.size).toBe(total);
      }
    }
  });

  it('uses only values that are made before', () => {
    const source = sourceOf(CONFIG, 'int8');
    const graphs = [encoderGraph(source, 0, 1), encoderGraph(source, 1, 3), decoderGraph(source), cacheGraph(CONFIG)];
    for (const { bytes } of graphs) {
      const { node, initializer, input, output } = decode(bytes);
      const known = new Set([...input, ...initializer].map(({ name }) => name));
      for (const { name, input: inputs = [], output: outputs } of node) {
        for (const value of inputs) expect(value === '' || known.has(value), `${name} reads ${value}`).toBe(true);
        for (const value of outputs) {
          expect(value === '' || !known.has(value), `${value} is made twice`).toBe(true);
          known.add(value);
        }
      }
      for (const { name } of output) expect(known.has(name), name).toBe(true);
    }
  });

  it('computes the bias once, or in every block', () => {
    const gathers = (config: T5Config) =>
      decode(decoderGraph(sourceOf(config, 'int8')).bytes).node.filter(({ name }) => name.endsWith('.gathered')).length;
    expect(gathers(CONFIG)).toBe(1);
    expect(gathers({ ...CONFIG, positionBias: 'every' })).toBe(CONFIG.decoderLayers);
  });

  it('counts the bytes that a step reads, the look-up table not among them', () => {
    const { tensors: entries } = planOf({ ...CONFIG, tied: false }, 'int8');
    const cross = /EncDecAttention\.[kv]\./;
    const read = entries.filter(({ name }) => /^(decoder|lm_head)\./.test(name) && !cross.test(name));
    const shared = entries.filter(({ name }) => name === 'shared.weight.scales');
    const bytes = [...read, ...shared].reduce((sum, entry) => sum + entry.bytes, 0);
    expect(decoderGraph(sourceOf({ ...CONFIG, tied: false }, 'int8')).weightBytes).toBe(bytes);
  });

  it('refuses a file in which joined matrices do not follow each other', () => {
    const source = sourceOf(CONFIG, 'int8');
    const moved = (name: string) => {
      const range = source.weights.offsetOf(name);
      return name.includes('SelfAttention.k.weight') ? { ...range, offset: range.offset + 128 } : range;
    };
    const broken = { ...source, weights: { ...source.weights, offsetOf: moved } };
    expect(() => decoderGraph(broken)).toThrow('does not follow');
  });

  it('survives the way through bytes', () => {
    const graph = new Graph('g', 'file');
    graph.op('Relu', 'y', [graph.input('x', 'float', [1, 'n'])], { axis: -1, epsilon: { float: 0.5 }, perm: [1, 0] });
    graph.output('y', 'float', [1, 'n']);
    graph.external('w', 'uint8', [2, 3], { offset: 2 ** 40, bytes: 6 });
    const { node, initializer } = decode(graph.encode());
    expect(node[0]).toMatchObject({ opType: 'Relu', input: ['x'], output: ['y'] });
    expect(initializer[0]?.externalData?.[1]).toEqual({ key: 'offset', value: String(2 ** 40) });
  });
});

describe('relative positions', () => {
  it('gives the buckets of transformers', () => {
    // From the second implementation in test/parity/reference/t5.py: 32 buckets, distance 128.
    const bidirectional = [-200, -128, -64, -16, -9, -8, -1, 0, 1, 7, 8, 15, 16, 32, 64, 127, 128, 500];
    const expected = [15, 15, 14, 10, 8, 8, 1, 0, 17, 23, 24, 25, 26, 28, 30, 31, 31, 31];
    expect(bidirectional.map((r) => relativeBucket(r, true, 32, 128))).toEqual(expected);
    const causal = [5, 0, -1, -15, -16, -17, -20, -32, -64, -127, -128, -1000];
    const expectedCausal = [0, 0, 1, 15, 16, 16, 17, 21, 26, 31, 31, 31];
    expect(causal.map((r) => relativeBucket(r, false, 32, 128))).toEqual(expectedCausal);
  });

  it('fills the tables row by row', () => {
    const positions = { relativeBuckets: 32, relativeMaxDistance: 128 };
    expect([...encoderBuckets(3, positions)]).toEqual([0, 17, 18, 1, 0, 17, 2, 1, 0]);
    // Two new tokens after one: the first must not see the second.
    expect([...decoderBuckets(1, 2, positions)]).toEqual([1, 0, 32, 2, 1, 0]);
  });
});
