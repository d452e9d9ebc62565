/** A `tokenizer.json` through the tokenizer library. */
import { Tokenizer } from '@huggingface/tokenizers';
import type { SpecialToken, TokenizerBackend } from './backend';
import { type LibraryNormalizer, useTable } from './precompiled';

export class LibraryBackend implements TokenizerBackend {
  readonly wordwise = true;
  readonly unkId: number | undefined;
  readonly special: readonly SpecialToken[];
  readonly #tokenizer: Tokenizer;

  /** Throws what the library throws for content that it cannot use. */
  constructor(tokenizerJson: object, tokenizerConfig: object) {
    this.#tokenizer = new Tokenizer(tokenizerJson, tokenizerConfig);
    useTable(
      this.#tokenizer.normalizer as LibraryNormalizer | null,
      (tokenizerJson as { normalizer?: unknown }).normalizer,
    );
    this.unkId = this.#tokenizer.model?.unk_token_id;
    this.special = [...this.#tokenizer.get_added_tokens_decoder().values()]
      .filter((token) => token.special)
      .map(({ id, content }) => ({ id, content }));
  }

  encode(text: string, frame: boolean): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: frame }).ids;
  }

  decode(ids: readonly number[]): string {
    return this.#tokenizer.decode([...ids], { skip_special_tokens: true, clean_up_tokenization_spaces: false });
  }

  piece(id: number): string | undefined {
    return this.#tokenizer.id_to_token(id);
  }
}
