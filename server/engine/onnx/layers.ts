/**
 * The layers of a T5 block as ONNX nodes, over activations float32 [rows, n, width].
 *
 * Matrices that follow each other in the weight file and read the same input are one product: q, k and v of a
 * self-attention, k and v of a cross-attention, wi_0 and wi_1 of a gated feed-forward. Fewer and wider products are
 * faster on every device, and the file's order makes them ranges of it, with nothing to copy.
 */

import type { T5Config } from '../../weights/config';
import { BLOCK, paddedK } from '../../weights/layout';
import type { WeightFormat } from '../engine';
import type { Graph } from './graph';

/** What the graph writer needs to know of a weight file. */
export interface WeightRanges {
  readonly format: WeightFormat;
  offsetOf(name: string): { readonly offset: number; readonly bytes: number; readonly shape: readonly number[] };
}

/**
 * How activations meet int8 weights.
 *
 * `float`: in float32, the way for WebGPU. A CPU turns the weights to float32 for every product anew, which takes more
 *          than ten times as long for one token, and for 100 tokens and wide matrices, too.
 * `split`: as two int8 numbers, see `Layers.split`. On a CPU nearly as fast as one, and as good as float32.
 * `int8`:  as one int8 number by block: every tenth greedy answer of the starter model differs from float32's.
 */
export type Activations = 'float' | 'split' | 'int8';

/**
 * `fused`: ONNX Runtime's MultiHeadAttention. `plain`: products and a softmax, for WebGPU, where the fused operator gives
 * wrong values from 32 queries on when the adapter's subgroups are narrow (ONNX Runtime 1.30 on Mesa's llvmpipe).
 */
export type AttentionForm = 'fused' | 'plain';

/** A sum that is still to be made: the residual stream, and what the last layer adds to it. */
export interface Residual {
  readonly stream: string;
  readonly addend?: string;
}

export interface CacheNames {
  readonly pastKey: string;
  readonly pastValue: string;
  readonly key: string;
  readonly value: string;
}

export class Layers {
  readonly graph: Graph;
  readonly config: T5Config;
  readonly #weights: WeightRanges;
  readonly #activations: Activations;
  readonly #attention: AttentionForm;
  readonly #cast = new Set<string>();

  constructor(
    graph: Graph,
    config: T5Config,
    weights: WeightRanges,
    activations: Activations,
    attention: AttentionForm,
  ) {
    this.graph = graph;
    this.config = config;
    this.#weights = weights;
    this.#activations = activations;
    this.#attention = attention;
  }

  /** `ids` int32 [rows, n] → float32 [rows, n, dModel]. */
  embedding(name: string, ids: string): string {
    const { vocabSize, dModel } = this.config;
    const range = this.#range(['shared.weight']);
    // Its own name, though a tied output layer reads the same bytes: that one has another shape and is laid out anew.
    if (this.#weights.format === 'fp32') {
      return this.graph.op('Gather', name, [this.graph.lookup(LOOKUP, 'float', [vocabSize, dModel], range), ids]);
    }
    const width = paddedK(dModel);
    const table = this.graph.lookup(LOOKUP, 'uint8', [vocabSize, width], range);
    const scales = this.#scales(['shared.weight'], [vocabSize, width / BLOCK]);
    const padded = width === dModel ? name : `${name}.padded`;
    const attributes = { bits: 8, block_size: BLOCK, gather_axis: 0, quantize_axis: 1 };
    this.graph.contrib('GatherBlockQuantized', padded, [table, ids, scales], attributes);
    return width === dModel ? name : this.#firstColumns(name, padded, dModel);
  }

  /** `x` [rows, n, k] times the transposed matrices [n_i, k], which lie one after the other in the file. */
  linear(name: string, x: string, matrices: readonly string[], n: number, k: number): string {
    if (this.#weights.format === 'fp32') {
      const weight = this.#float(matrices, [n, k]);
      this.graph.contrib('FusedMatMul', name, [x, weight], { transB: 1 });
      return name;
    }
    const width = paddedK(k);
    const weight = this.#bytes(matrices, [n, width / BLOCK, BLOCK]);
    const scales = this.#scales(matrices, [n, width / BLOCK]);
    const product = (output: string, input: string, columns: number, level: 0 | 4) =>
      this.graph.contrib('MatMulNBits', output, [input, weight, scales], {
        N: n,
        K: columns,
        bits: 8,
        block_size: BLOCK,
        accuracy_level: level,
      });
    if (this.#activations === 'split') {
      // The file's columns beyond k are zero weights, and so is what meets them here.
      const padded = width === k ? x : this.#padded(`${name}.padded`, x, width - k);
      product(`${name}.terms`, this.#split(name, padded, width), width, 4);
      const terms = [`${name}.term.0`, `${name}.term.1`];
      this.graph.halve(terms, `${name}.terms`);
      return this.graph.op('Add', name, terms);
    }
    product(name, x, k, this.#activations === 'int8' ? 4 : 0);
    return name;
  }

  /**
   * `x` float32 [rows, n, width] as two terms [2 * rows, n, width] whose sum it is. MatMulNBits at accuracy level 4 rounds
   * its input to int8 by block, with the largest magnitude of a block as 127. The first term is what that rounding makes
   * of `x`, and rounding it again changes nothing; the second is what was lost, small enough that its own rounding does
   * not matter. One product of twice the rows reads the weights once, and few rows cost nothing but that reading.
   */
  #split(name: string, x: string, width: number): string {
    const g = this.graph;
    const value = (part: string) => `${name}.${part}`;
    const blocks = g.op('Reshape', value('blocks'), [x, g.int64(0, 0, width / BLOCK, BLOCK)]);
    const magnitude = g.op('Abs', value('magnitude'), [blocks]);
    const largest = g.op('ReduceMax', value('largest'), [magnitude, g.int64(-1)], { keepdims: 1 });
    const unit = g.op('Mul', value('unit'), [largest, g.constant('1/127', Float32Array.of(1 / 127))]);
    // A block of zeros, as after a ReLU, must not be divided by zero.
    const step = g.op('Max', value('step'), [unit, g.constant('least_step', Float32Array.of(1e-30))]);
    const rounded = g.op('Round', value('rounded'), [g.op('Div', value('scaled'), [blocks, step])]);
    const first = g.op('Mul', value('first'), [rounded, step]);
    const second = g.op('Sub', value('second'), [blocks, first]);
    const both = g.op('Concat', value('both'), [first, second], { axis: 0 });
    return g.op('Reshape', value('two'), [both, g.int64(0, 0, width)]);
  }

  /** RMS norm of a residual stream; says which value is the stream from then on. `factor` multiplies the result. */
  norm(
    name: string,
    residual: Residual,
    weight: string,
    factor = 1,
  ): { readonly out: string; readonly stream: string } {
    let gamma = this.#float(weight, [this.config.dModel]);
    if (factor !== 1) {
      // Both sides are constants: ONNX Runtime multiplies them once, when it loads the graph.
      const constant = this.graph.constant(`${name}.factor`, Float32Array.of(factor));
      gamma = this.graph.op('Mul', `${name}.gamma`, [gamma, constant]);
    }
    const epsilon = { float: this.config.layerNormEpsilon };
    if (residual.addend === undefined) {
      this.graph.op('SimplifiedLayerNormalization', name, [residual.stream, gamma], { axis: -1, epsilon });
      return { out: name, stream: residual.stream };
    }
    const stream = `${name}.stream`;
    const outputs = [name, '', '', stream];
    const inputs = [residual.stream, residual.addend, gamma];
    this.graph.contrib('SkipSimplifiedLayerNormalization', name, inputs, { epsilon }, outputs);
    return { out: name, stream };
  }

  /** The feed-forward layer named by its prefix in the checkpoint: [rows, n, dModel] → the same. */
  feedForward(prefix: string, x: string): string {
    const { dModel, dFf, gated } = this.config;
    const ff = `${prefix}.DenseReluDense`;
    let inner: string;
    if (gated) {
      const matrices = [`${ff}.wi_0.weight`, `${ff}.wi_1.weight`];
      const both = this.linear(`${ff}.wi`, x, matrices, 2 * dFf, dModel);
      const [gate = '', value = ''] = this.graph.split(`${ff}.halves`, both, [dFf, dFf]);
      inner = this.graph.op('Mul', `${ff}.gated`, [this.#activation(`${ff}.act`, gate), value]);
    } else {
      inner = this.#activation(`${ff}.act`, this.linear(`${ff}.wi`, x, [`${ff}.wi.weight`], dFf, dModel));
    }
    return this.linear(`${ff}.wo`, inner, [`${ff}.wo.weight`], dModel, dFf);
  }

  /**
   * The relative position bias of one block, float32 [1, heads, queries, keys], from `buckets` int32 [queries, keys].
   * Bucket number `relativeBuckets` is one more row of the table, so low that the softmax gives 0: a masked pair.
   */
  positionBias(prefix: string, buckets: string): string {
    const { relativeBuckets, numHeads } = this.config;
    const name = `${prefix}.relative_attention_bias`;
    const table = this.#float(`${name}.weight`, [relativeBuckets, numHeads]);
    const masked = this.graph.constant('masked', new Float32Array(numHeads).fill(MASKED), [1, numHeads]);
    const rows = this.graph.op('Concat', `${name}.rows`, [table, masked], { axis: 0 });
    // The table is turned once at load, so that the look-up writes [heads, queries, keys] without another pass.
    const byHead = this.graph.op('Transpose', `${name}.by_head`, [rows], { perm: [1, 0] });
    const bias = this.graph.op('Gather', `${name}.gathered`, [byHead, buckets], { axis: 1 });
    return this.graph.op('Unsqueeze', name, [bias, this.graph.int64(0)]);
  }

  /**
   * Self-attention without T5's missing scale: `q`, `k`, `v` [rows, n, inner] with `bias` [1, heads, n, keys] → [rows, n,
   * inner]. With a `cache`, its past keys and values [rows, heads, past, dKv] come before the new ones, and both together
   * are the values `key` and `value`.
   */
  selfAttention(name: string, q: string, k: string, v: string, bias: string, cache?: CacheNames): string {
    if (this.#attention === 'fused') {
      const past = cache ? [cache.pastKey, cache.pastValue] : [];
      return this.#fused(name, [q, k, v, '', '', bias, ...past], cache ? [name, cache.key, cache.value] : [name]);
    }
    let key = this.heads(`${name}.k`, k);
    let value = this.heads(`${name}.v`, v);
    if (cache !== undefined) {
      key = this.graph.op('Concat', cache.key, [cache.pastKey, key], { axis: 2 });
      value = this.graph.op('Concat', cache.value, [cache.pastValue, value], { axis: 2 });
    }
    return this.#plain(name, this.heads(`${name}.q`, q), key, value, bias);
  }

  /** `q` [1, queries, inner] over `key` and `value` [1, heads, length, dKv] → [1, queries, inner]. */
  crossAttention(name: string, q: string, key: string, value: string): string {
    if (this.#attention === 'fused') return this.#fused(name, [q, key, value], [name]);
    return this.#plain(name, this.heads(`${name}.q`, q), key, value);
  }

  /** [rows, n, count * dKv] → [rows, count, n, dKv]; `count` heads, by default all. */
  heads(name: string, x: string, count = this.config.numHeads): string {
    const split = this.graph.op('Reshape', `${name}.split`, [x, this.graph.int64(0, 0, count, this.config.dKv)]);
    return this.graph.op('Transpose', `${name}.by_head`, [split], { perm: [0, 2, 1, 3] });
  }

  #fused(name: string, inputs: readonly string[], outputs: readonly string[]): string {
    const attributes = { num_heads: this.config.numHeads, scale: { float: 1 } };
    this.graph.contrib('MultiHeadAttention', name, inputs, attributes, outputs);
    return name;
  }

  #plain(name: string, q: string, key: string, value: string, bias?: string): string {
    const g = this.graph;
    const turned = g.op('Transpose', `${name}.turned`, [key], { perm: [0, 1, 3, 2] });
    let scores = g.op('MatMul', `${name}.scores`, [q, turned]);
    if (bias !== undefined) scores = g.op('Add', `${name}.biased`, [scores, bias]);
    const shares = g.op('Softmax', `${name}.shares`, [scores], { axis: -1 });
    const mixed = g.op('MatMul', `${name}.heads`, [shares, value]);
    const byToken = g.op('Transpose', `${name}.by_token`, [mixed], { perm: [0, 2, 1, 3] });
    return g.op('Reshape', name, [byToken, g.int64(0, 0, this.config.numHeads * this.config.dKv)]);
  }

  #activation(name: string, x: string): string {
    switch (this.config.activation) {
      case 'relu':
        return this.graph.op('Relu', name, [x]);
      case 'gelu':
        return this.graph.op('Gelu', name, [x]);
      case 'gelu_new':
        return this.graph.op('Gelu', name, [x], { approximate: 'tanh' });
      case 'silu':
        this.graph.contrib('QuickGelu', name, [x], { alpha: { float: 1 } });
        return name;
    }
  }

  #padded(name: string, value: string, columns: number): string {
    return this.graph.op('Pad', name, [value, this.graph.int64(0, 0, 0, 0, 0, columns)]);
  }

  #firstColumns(name: string, value: string, width: number): string {
    const g = this.graph;
    return g.op('Slice', name, [value, g.int64(0), g.int64(width), g.int64(-1)]);
  }

  #bytes(matrices: readonly string[], dims: readonly number[]): string {
    return this.graph.external(matrices.join('|'), 'uint8', dims, this.#range(matrices));
  }

  #float(matrices: string | readonly string[], dims: readonly number[]): string {
    const names = typeof matrices === 'string' ? [matrices] : matrices;
    return this.graph.external(names.join('|'), 'float', dims, this.#range(names));
  }

  /** Float16 in the file, float32 for the operators: cast once, at load. */
  #scales(matrices: readonly string[], dims: readonly number[]): string {
    const names = matrices.map((m) => `${m}.scales`);
    const half = names.join('|');
    const known = this.#cast.has(half);
    this.graph.external(half, 'float16', dims, this.#range(names));
    if (!known) {
      this.#cast.add(half);
      this.graph.op('Cast', `${half}.float`, [half], { to: 1 });
    }
    return `${half}.float`;
  }

  /** The bytes of tensors that must lie one after the other. */
  #range(names: readonly string[]): { offset: number; bytes: number } {
    let offset = -1;
    let bytes = 0;
    for (const name of names) {
      const range = this.#weights.offsetOf(name);
      if (offset < 0) offset = range.offset;
      if (range.offset !== offset + bytes) throw new Error(`${name} does not follow ${names[0]} in the weight file.`);
      bytes += range.bytes;
    }
    return { offset, bytes };
  }
}

const LOOKUP = 'lookup:shared.weight';

/** exp(-1e9 - max) is 0 in float32 for every score that attention can have. */
const MASKED = -1e9;
