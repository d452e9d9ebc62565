/** What a codec needs of a tokenizer, whichever file it was made from. */

/** A token that text can contain by accident, spelled out. */
export interface SpecialToken {
  readonly id: number;
  readonly content: string;
}

export interface TokenizerBackend {
  /** Words may be encoded one by one, where trying it gives no difference. */
  readonly wordwise: boolean;
  /** Id of the unknown token; undefined where the vocabulary covers every byte. */
  readonly unkId: number | undefined;
  readonly special: readonly SpecialToken[];
  /** `frame`: with what the model's own tokenizer adds around a text. */
  encode(text: string, frame: boolean): number[];
  /** Text of at least one id, special tokens left out. A character whose last bytes are missing is `\ufffd`. */
  decode(ids: readonly number[]): string;
  /** The vocabulary's spelling of one token. */
  piece(id: number): string | undefined;
}
