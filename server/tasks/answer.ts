/** Shows an answer while it is written, holding back what may turn out to be the model's word for "the text does not say". */
import type { TextCodec } from '../text/codec';
import { StreamDecoder } from '../text/stream';

/** What the user reads in place of the model's word. Editors show their own words, by the result's flag. */
export const UNANSWERABLE_TEXT = 'The text does not say.';

export class AnswerStream {
  readonly #decoder: StreamDecoder;
  readonly #word: string | undefined;
  readonly #show: (append: string) => void;
  #held = '';
  #open: boolean;

  /**
   * @param word what the model answers when the text does not say; undefined where no answer is held back
   * @param show gets pieces that, joined, are the answer's text
   */
  constructor(
    codec: TextCodec,
    restore: (output: string) => string,
    word: string | undefined,
    show: (append: string) => void,
  ) {
    this.#decoder = new StreamDecoder(codec, restore);
    this.#word = word;
    this.#show = show;
    this.#open = word === undefined;
  }

  push(ids: readonly number[]): void {
    this.#append(this.#decoder.push(ids));
  }

  /** The whole text; `unanswerable` when the answer was the word and nothing else. `cancelled` answers are taken as they are. */
  end(cancelled: boolean): { readonly text: string; readonly unanswerable: boolean } {
    const rest = this.#decoder.end();
    const whole = this.#decoder.shown;
    const unanswerable = this.#word !== undefined && !cancelled && bare(whole) === this.#word;
    if (unanswerable) {
      this.#show(UNANSWERABLE_TEXT);
      return { text: UNANSWERABLE_TEXT, unanswerable };
    }
    this.#open = true;
    this.#append(rest);
    return { text: whole, unanswerable };
  }

  #append(text: string): void {
    this.#held += text;
    if (!this.#open && this.#word !== undefined) this.#open = !this.#word.startsWith(bare(this.#held));
    if (!this.#open || this.#held === '') return;
    this.#show(this.#held);
    this.#held = '';
  }
}

/** Letters alone: `Unanswerable.` and `"unanswerable"` are the same answer. */
function bare(text: string): string {
  return text.toLowerCase().replaceAll(/[^\p{L}\p{N}]/gu, '');
}
