/** What is refused before any work, each case with its own error that says what to do next. */
import { FlanError } from '../errors';
import { say } from '../saying';

/** Far above any window (2048 tokens are about 8,000 characters): more is a wrong file, not a long selection. */
export const MAX_INPUT_CHARS = 1_000_000;
/** Text has next to no control characters; from this share on it is taken for a binary file. */
const BINARY_SHARE = 0.1;
/** Where a file is judged: enough to tell, and cheap for any size. */
const SAMPLE_CHARS = 65_536;

export class EmptyInputError extends FlanError {
  constructor() {
    super('empty-input', say('There is no text here: select some text or code, then try again.'));
  }
}

export class InputTooLargeError extends FlanError {
  constructor(chars: number) {
    super(
      'input-too-large',
      say('The text has {0} characters, the limit is {1}: select the part that matters.', chars, MAX_INPUT_CHARS),
    );
  }
}

export class BinaryInputError extends FlanError {
  constructor() {
    super('binary-input', say('This looks like a binary file, not text: choose a text or source file.'));
  }
}

/** @throws EmptyInputError, InputTooLargeError, BinaryInputError */
export function checkInput(text: string): void {
  if (text.length > MAX_INPUT_CHARS) throw new InputTooLargeError(text.length);
  if (text.trim().length === 0) throw new EmptyInputError();
  const sample = text.slice(0, SAMPLE_CHARS);
  let control = 0;
  for (let i = 0; i < sample.length; i++) {
    const c = sample.charCodeAt(i);
    if (c === 0) throw new BinaryInputError();
    // 0xFFFD is what a decoder writes for bytes that are no text; tab to carriage return and escape are text.
    if ((c < 32 && !(c >= 9 && c <= 13) && c !== 27) || c === 0xfffd) control++;
  }
  if (control / sample.length >= BINARY_SHARE) throw new BinaryInputError();
}
