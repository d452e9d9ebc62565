/**
 * The graphs of a T5 model, written from its config.
 *
 * encoder: some encoder blocks. The first part starts from ids, the last ends with the final norm and the keys and
 *          values of every decoder block's cross-attention. Small models have one part.
 * decoder: one step of `n` new tokens for each of `rows` rows over one memory.
 * cache:   picks rows and drops tokens of the self-attention cache; no weights.
 *
 * Keys and values are [rows, heads, tokens, dKv]. In cross-attention the rows share one memory, so that rows * n
 * queries are simply more queries of one row, and the memory is never repeated.
 */
import type { T5Config } from '../../weights/config';
import { Graph } from './graph';
import { type Activations, type AttentionForm, Layers, type Residual, type WeightRanges } from './layers';

export interface WrittenGraph {
  readonly bytes: Uint8Array;
  /** Bytes of weights that one run reads in whole. */
  readonly weightBytes: number;
}

export interface GraphSource {
  readonly config: T5Config;
  readonly weights: WeightRanges;
  /** File name of the weight file, without folder. */
  readonly location: string;
  readonly attention: AttentionForm;
  readonly activations: Activations;
}

export const keyName = (layer: number): string => `key.${layer}`;
export const valueName = (layer: number): string => `value.${layer}`;
export const pastKeyName = (layer: number): string => `past_key.${layer}`;
export const pastValueName = (layer: number): string => `past_value.${layer}`;
export const crossKeyName = (layer: number): string => `cross_key.${layer}`;
export const crossValueName = (layer: number): string => `cross_value.${layer}`;

/**
 * Encoder blocks `from` (inclusive) to `to`. Inputs: `ids` int32 [1, length] (or `stream` and `addend` float32
 * [1, length, dModel] from the part before) and `buckets` int32 [length, length]. Outputs: `hidden` float32
 * [1, length, dModel] and cross keys and values, or again `stream` and `addend`.
 */
export function encoderGraph(source: GraphSource, from: number, to: number): WrittenGraph {
  const { config } = source;
  const { dModel, numHeads, dKv } = config;
  const inner = numHeads * dKv;
  const graph = new Graph('encoder', source.location);
  const layers = new Layers(graph, config, source.weights, source.activations, source.attention);
  const wide = [1, 'length', dModel];

  let residual: Residual =
    from === 0
      ? { stream: layers.embedding('embedded', graph.input('ids', 'int32', [1, 'length'])) }
      : { stream: graph.input('stream', 'float', wide), addend: graph.input('addend', 'float', wide) };
  const buckets = graph.input('buckets', 'int32', ['length', 'length']);

  let bias = '';
  for (let b = from; b < to; b++) {
    const prefix = `encoder.block.${b}.layer`;
    const attention = `${prefix}.0.SelfAttention`;
    if (config.positionBias === 'every') bias = layers.positionBias(attention, buckets);
    else if (b === from) bias = layers.positionBias('encoder.block.0.layer.0.SelfAttention', buckets);

    const first = layers.norm(`${prefix}.0.norm`, residual, `${prefix}.0.layer_norm.weight`);
    const [q = '', k = '', v = ''] = selfProjections(layers, attention, first.out);
    const mixed = layers.selfAttention(`${attention}.mixed`, q, k, v, bias);
    const attended = layers.linear(`${attention}.o`, mixed, [`${attention}.o.weight`], dModel, inner);

    const after = { stream: first.stream, addend: attended };
    const second = layers.norm(`${prefix}.1.norm`, after, `${prefix}.1.layer_norm.weight`);
    residual = { stream: second.stream, addend: layers.feedForward(`${prefix}.1`, second.out) };
  }

  if (to < config.encoderLayers) {
    graph.rename(residual.stream, 'next_stream', 'float', wide);
    graph.rename(residual.addend ?? '', 'next_addend', 'float', wide);
    return { bytes: graph.encode(), weightBytes: graph.externalBytes };
  }
  const hidden = layers.norm('hidden', residual, 'encoder.final_layer_norm.weight').out;
  graph.output(hidden, 'float', wide);
  for (let b = 0; b < config.decoderLayers; b++) {
    const attention = `decoder.block.${b}.layer.1.EncDecAttention`;
    const matrices = [`${attention}.k.weight`, `${attention}.v.weight`];
    const both = layers.linear(`${attention}.kv`, hidden, matrices, 2 * inner, dModel);
    const byHead = layers.heads(`${attention}.kv`, both, 2 * numHeads);
    graph.splitInto([crossKeyName(b), crossValueName(b)], byHead, 1, [numHeads, numHeads]);
    for (const name of [crossKeyName(b), crossValueName(b)]) graph.output(name, 'float', [1, numHeads, 'length', dKv]);
  }
  return { bytes: graph.encode(), weightBytes: graph.externalBytes };
}

/**
 * One decoder step. Inputs: `ids` int32 [rows, n], `shape` int64 [3] = rows, n, heads * dKv, `buckets` int32
 * [n, past + n], past keys and values, cross keys and values. Outputs: `logits` float32 [rows, n, vocabSize] and the
 * grown keys and values.
 */
export function decoderGraph(source: GraphSource): WrittenGraph {
  const { config } = source;
  const { dModel, numHeads, dKv, vocabSize } = config;
  const inner = numHeads * dKv;
  const graph = new Graph('decoder', source.location);
  const layers = new Layers(graph, config, source.weights, source.activations, source.attention);

  let residual: Residual = { stream: layers.embedding('embedded', graph.input('ids', 'int32', ['rows', 'n'])) };
  const shape = graph.input('shape', 'int64', [3]);
  const buckets = graph.input('buckets', 'int32', ['n', 'total']);
  const folded = graph.int64(1, -1, inner);

  let bias = '';
  for (let b = 0; b < config.decoderLayers; b++) {
    const prefix = `decoder.block.${b}.layer`;
    const self = `${prefix}.0.SelfAttention`;
    if (b === 0 || config.positionBias === 'every') bias = layers.positionBias(self, buckets);
    const pastKey = graph.input(pastKeyName(b), 'float', ['rows', numHeads, 'past', dKv]);
    const pastValue = graph.input(pastValueName(b), 'float', ['rows', numHeads, 'past', dKv]);
    const crossKey = graph.input(crossKeyName(b), 'float', [1, numHeads, 'length', dKv]);
    const crossValue = graph.input(crossValueName(b), 'float', [1, numHeads, 'length', dKv]);

    const first = layers.norm(`${prefix}.0.norm`, residual, `${prefix}.0.layer_norm.weight`);
    const [q = '', k = '', v = ''] = selfProjections(layers, self, first.out);
    const cache = { pastKey, pastValue, key: keyName(b), value: valueName(b) };
    const mixed = layers.selfAttention(`${self}.mixed`, q, k, v, bias, cache);
    for (const name of [keyName(b), valueName(b)]) graph.output(name, 'float', ['rows', numHeads, 'total', dKv]);
    const attended = layers.linear(`${self}.o`, mixed, [`${self}.o.weight`], dModel, inner);

    const afterSelf = { stream: first.stream, addend: attended };
    const second = layers.norm(`${prefix}.1.norm`, afterSelf, `${prefix}.1.layer_norm.weight`);
    const cross = `${prefix}.1.EncDecAttention`;
    const queries = layers.linear(`${cross}.q`, second.out, [`${cross}.q.weight`], inner, dModel);
    const asOneRow = graph.op('Reshape', `${cross}.folded`, [queries, folded]);
    const looked = layers.crossAttention(`${cross}.mixed`, asOneRow, crossKey, crossValue);
    const asRows = graph.op('Reshape', `${cross}.unfolded`, [looked, shape]);
    const read = layers.linear(`${cross}.o`, asRows, [`${cross}.o.weight`], dModel, inner);

    const afterCross = { stream: second.stream, addend: read };
    const third = layers.norm(`${prefix}.2.norm`, afterCross, `${prefix}.2.layer_norm.weight`);
    residual = { stream: third.stream, addend: layers.feedForward(`${prefix}.2`, third.out) };
  }

  // A tied output layer reads the decoder's output times dModel^-0.5; the norm's weight takes the factor.
  const factor = config.tied ? dModel ** -0.5 : 1;
  const final = layers.norm('final', residual, 'decoder.final_layer_norm.weight', factor).out;
  const head = config.tied ? 'shared.weight' : 'lm_head.weight';
  layers.linear('logits', final, [head], vocabSize, dModel);
  graph.output('logits', 'float', ['rows', 'n', vocabSize]);
  return { bytes: graph.encode(), weightBytes: graph.externalBytes };
}

/** `parents` int32 [rows] and `length` int64 [1]: row i becomes the first `length` tokens of row parents[i]. */
export function cacheGraph(config: T5Config): WrittenGraph {
  const { numHeads, dKv } = config;
  const graph = new Graph('cache', '');
  const parents = graph.input('parents', 'int32', ['rows']);
  const length = graph.input('length', 'int64', [1]);
  for (let b = 0; b < config.decoderLayers; b++) {
    for (const [past, next] of [
      [pastKeyName(b), keyName(b)],
      [pastValueName(b), valueName(b)],
    ] as const) {
      const old = graph.input(past, 'float', ['rows', numHeads, 'past', dKv]);
      const cut = graph.op('Slice', `${next}.cut`, [old, graph.int64(0), length, graph.int64(2)]);
      graph.op('Gather', next, [cut, parents], { axis: 0 });
      graph.output(next, 'float', ['rows', numHeads, 'kept', dKv]);
    }
  }
  return { bytes: graph.encode(), weightBytes: 0 };
}

function selfProjections(layers: Layers, attention: string, x: string): string[] {
  const { numHeads, dKv, dModel } = layers.config;
  const inner = numHeads * dKv;
  const matrices = ['q', 'k', 'v'].map((m) => `${attention}.${m}.weight`);
  const all = layers.linear(`${attention}.qkv`, x, matrices, 3 * inner, dModel);
  return layers.graph.split(`${attention}.qkv.parts`, all, [inner, inner, inner]);
}
