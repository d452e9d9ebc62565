/**
 * Which matrix is a checkpoint's output layer, and whether the decoder output is scaled before it.
 *
 * The engines know two forms only: `tied` (the embedding is the output layer, decoder output times dModel ** -0.5) and not
 * tied (`lm_head.weight`, no scale). The two mixed forms that checkpoints can ask for are brought to the second one when
 * the weights are converted: the factor goes into the matrix, or the embedding is written once more as `lm_head.weight`.
 */
import { ConfigError } from './errors';

export interface OutputRule {
  /** As in T5Config. */
  readonly tied: boolean;
  /** Not tied: the tensor of the checkpoint that `lm_head.weight` is made from. */
  readonly from: 'shared.weight' | 'lm_head.weight';
  /** Not tied: what that tensor is multiplied by. */
  readonly factor: number;
  /** Which rule was applied, as a sentence for the log. */
  readonly note: string;
}

/**
 * Reads `tie_word_embeddings` and `scale_decoder_outputs` of a `config.json`.
 *
 * transformers up to version 4 says by `tie_word_embeddings` (absent: true) both that the output layer is the embedding
 * and that the decoder output is scaled. Version 5 always writes `true`, keeps an `lm_head.weight` that differs from the
 * embedding, and says in `scale_decoder_outputs` whether to scale; it forgets that for mT5 and umT5, whose own output layers
 * were trained without the scale.
 *
 * @param has.lmHead the checkpoint has an `lm_head.weight` that is not a copy of its embedding.
 */
export function outputRule(
  config: Readonly<Record<string, unknown>>,
  modelType: string,
  dModel: number,
  has: { readonly lmHead: boolean },
): OutputRule {
  const flag = optionalBoolean(config, 'tie_word_embeddings');
  const scaleFlag = optionalBoolean(config, 'scale_decoder_outputs');
  const said = flag === undefined ? 'config.json does not say tie_word_embeddings' : `tie_word_embeddings is ${flag}`;
  const unscaled = modelType === 'mt5' || (modelType === 'umt5' && has.lmHead);
  const scaled = scaleFlag ?? (flag !== false && !unscaled);

  if (flag === false && scaleFlag !== true) {
    return { tied: false, from: 'lm_head.weight', factor: 1, note: `${said}: lm_head.weight is the output layer.` };
  }
  if (has.lmHead) {
    const rule = `${said}, but lm_head.weight differs from the embedding: lm_head.weight is the output layer`;
    return {
      tied: false,
      from: 'lm_head.weight',
      factor: scaled ? dModel ** -0.5 : 1,
      note: `${rule}, ${scaled ? 'with' : 'without'} the scale d_model ** -0.5.`,
    };
  }
  if (scaled) {
    const note = `${said}: the embedding is the output layer, with the scale d_model ** -0.5.`;
    return { tied: true, from: 'shared.weight', factor: 1, note };
  }
  const why = scaleFlag === false ? 'scale_decoder_outputs is false' : 'mT5 has no output scale';
  return {
    tied: false,
    from: 'shared.weight',
    factor: 1,
    note: `${said} and ${why}: the embedding is the output layer, without a scale.`,
  };
}

function optionalBoolean(config: Readonly<Record<string, unknown>>, field: string): boolean | undefined {
  const value = config[field];
  if (value === undefined || value === null) return undefined;
  if (typeof value !== 'boolean') {
    throw new ConfigError(
      field,
      `config.json: ${field} is ${JSON.stringify(value)}, not true or false; download it again.`,
    );
  }
  return value;
}
