/**
 * The tensors of a T5 model, and how they lie in our weight files.
 *
 * A weight file is one safetensors file. Its header is padded with spaces so that the data starts at a multiple of 4096.
 *
 * `int8`: each matrix [N, K] is stored as U8 [N, paddedK], paddedK = K rounded up to BLOCK, value = q + 128 with q in
 * [-127, 127] (padding: 128, that is zero), under the matrix's Hugging Face name; its scales as F16 [N, paddedK / BLOCK]
 * under `<name>.scales`. weight = (value - 128) * scale. This is what ONNX Runtime's MatMulNBits (8 bits) and
 * GatherBlockQuantized read, and what the CUDA kernels are re-laid from. Norm weights and relative biases are F32.
 * `fp32`: every tensor F32 with its own shape.
 *
 * File order: all U8 tensors, then all F32, then all F16, each in the order of `tensorsOf`. Every size of the first group
 * is a multiple of BLOCK bytes, so each tensor is aligned for its type without holes (safetensors allows none).
 */
import type { T5Config } from './config';

/** Weights that share one scale, along K. 128 costs 1.6 % of the bytes in scales and divides every T5 width in use. */
export const BLOCK = 128;

export interface TensorSpec {
  /** The name in a Hugging Face checkpoint. */
  readonly name: string;
  readonly shape: readonly number[];
  /** `matrix`: multiplied by activations or looked up, quantized. `vector`: norm weight or relative bias, kept in F32. */
  readonly kind: 'matrix' | 'vector';
}

const ATTENTION = ['q', 'k', 'v'] as const;

/** All tensors of a checkpoint of this architecture, in the order of the computation. */
export function tensorsOf(config: T5Config): TensorSpec[] {
  const { dModel, dFf, numHeads, dKv, vocabSize } = config;
  const inner = numHeads * dKv;
  const tensors: TensorSpec[] = [{ name: 'shared.weight', shape: [vocabSize, dModel], kind: 'matrix' }];
  const matrix = (name: string, n: number, k: number) => tensors.push({ name, shape: [n, k], kind: 'matrix' });
  const vector = (name: string, ...shape: number[]) => tensors.push({ name, shape, kind: 'vector' });

  const attention = (prefix: string, bias: boolean) => {
    for (const m of ATTENTION) matrix(`${prefix}.${m}.weight`, inner, dModel);
    matrix(`${prefix}.o.weight`, dModel, inner);
    if (bias) vector(`${prefix}.relative_attention_bias.weight`, config.relativeBuckets, numHeads);
  };
  const stack = (name: 'encoder' | 'decoder', layers: number) => {
    for (let b = 0; b < layers; b++) {
      const block = `${name}.block.${b}.layer`;
      attention(`${block}.0.SelfAttention`, b === 0 || config.positionBias === 'every');
      vector(`${block}.0.layer_norm.weight`, dModel);
      if (name === 'decoder') {
        attention(`${block}.1.EncDecAttention`, false);
        vector(`${block}.1.layer_norm.weight`, dModel);
      }
      const ff = name === 'decoder' ? 2 : 1;
      if (config.gated) {
        matrix(`${block}.${ff}.DenseReluDense.wi_0.weight`, dFf, dModel);
        matrix(`${block}.${ff}.DenseReluDense.wi_1.weight`, dFf, dModel);
      } else {
        matrix(`${block}.${ff}.DenseReluDense.wi.weight`, dFf, dModel);
      }
      matrix(`${block}.${ff}.DenseReluDense.wo.weight`, dModel, dFf);
      vector(`${block}.${ff}.layer_norm.weight`, dModel);
    }
    vector(`${name}.final_layer_norm.weight`, dModel);
  };
  stack('encoder', config.encoderLayers);
  stack('decoder', config.decoderLayers);
  if (!config.tied) matrix('lm_head.weight', vocabSize, dModel);
  return tensors;
}

/** Weights of a model, without the copies that some checkpoints store. */
export function parametersOf(config: T5Config): number {
  return tensorsOf(config).reduce((sum, { shape }) => sum + shape.reduce((product, n) => product * n, 1), 0);
}

export function paddedK(k: number): number {
  return Math.ceil(k / BLOCK) * BLOCK;
}
