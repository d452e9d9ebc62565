import { inEnglish, type Saying } from './saying';

/**
 * The base of every error that a user may see. Its message is one line: what happened, and what to do next.
 * `code` is stable and travels over the protocol, so that a client can offer the right button.
 */
export class FlanError extends Error {
  readonly code: string;
  /** The message for front ends that speak other languages; undefined where it is only there in English. */
  readonly saying: Saying | undefined;

  constructor(code: string, message: string | Saying, options?: ErrorOptions) {
    super(typeof message === 'string' ? message : inEnglish(message), options);
    this.code = code;
    this.saying = typeof message === 'string' ? undefined : message;
    this.name = new.target.name;
  }
}

/** Wrong usage of a command or a request: exit code 2 on the command line. */
export class UsageError extends FlanError {
  constructor(message: string | Saying) {
    super('usage', message);
  }
}

/** The request was cancelled by its owner. Never shown as a failure. */
export class CancelledError extends FlanError {
  constructor() {
    super('cancelled', 'Stopped.');
  }
}
