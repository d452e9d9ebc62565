/** The architecture of a T5-family encoder-decoder, read from a Hugging Face `config.json`. */
export interface T5Config {
  /** `t5`, `mt5` or `umt5`, as `model_type` says. */
  readonly modelType: string;
  readonly vocabSize: number;
  readonly dModel: number;
  /** Width of one attention head. `numHeads * dKv` need not equal `dModel`. */
  readonly dKv: number;
  readonly dFf: number;
  readonly numHeads: number;
  readonly encoderLayers: number;
  readonly decoderLayers: number;
  /** `gelu_new` is the tanh approximation. */
  readonly activation: 'relu' | 'gelu_new' | 'silu';
  /** Gated: `wo(act(wi_0 x) * wi_1 x)`; otherwise `wo(act(wi x))`. */
  readonly gated: boolean;
  /** The output layer is `shared.weight`, and the decoder output is multiplied by `dModel ** -0.5` before it. */
  readonly tied: boolean;
  readonly layerNormEpsilon: number;
  readonly relativeBuckets: number;
  readonly relativeMaxDistance: number;
  /** `first`: the relative bias of block 0 serves all blocks (T5, mT5). `every`: each block has its own (umT5). */
  readonly positionBias: 'first' | 'every';
  readonly padId: number;
  readonly eosId: number;
  readonly decoderStartId: number;
  /** Input length the checkpoint declares (`n_positions`), if any; not a hard limit for T5. */
  readonly declaredPositions: number | undefined;
}
