/** What a model takes of the memory of ONNX Runtime's engines, `cpu` and `webgpu`, computed before anything is loaded. */
import type { ModelSize } from '../candidate';

/** Weights are laid out anew for the multiplication, and their scales become float32. */
const WEIGHT_FACTOR = 1.1;
/** Sessions, graphs, vocabulary-wide outputs. */
const FIXED_BYTES = 120e6;
/** Values of the feed-forward's width that are alive at a time for each source token: both gates, their product, its two int8 terms. */
const WIDE_VALUES = 12;
/** The relative bias, the scores and what is made of them: [heads, tokens, tokens] each. */
const SCORES = 3;
/** A prompt that must fit beside the weights: what `auto` counts with. */
const REQUEST_TOKENS = 512;

/**
 * Bytes of a loaded model with room for one prompt of `sourceTokens`. Measured with the starter on a 2-core x86-64 VM, as
 * the growth of the process at its peak: 157 MB with 512 tokens and 564 MB with 2048, where this gives 200 and 577.
 */
export function onnxNeedBytes({ config, fileBytes }: ModelSize, sourceTokens = REQUEST_TOKENS): number {
  const { dFf, numHeads, dKv, decoderLayers } = config;
  const wide = WIDE_VALUES * sourceTokens * dFf;
  const scores = SCORES * numHeads * sourceTokens * sourceTokens;
  const caches = 2 * decoderLayers * numHeads * dKv * sourceTokens;
  return fileBytes * WEIGHT_FACTOR + (wide + scores + caches) * Float32Array.BYTES_PER_ELEMENT + FIXED_BYTES;
}
