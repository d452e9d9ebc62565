/**
 * The base of every error that a user may see. Its message is one line: what happened, and what to do next.
 * `code` is stable and travels over the protocol, so that a client can offer the right button.
 */
export class FlanError extends Error {
  readonly code: string;

  constructor(code: string, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
    this.name = new.target.name;
  }
}

/** Wrong usage of a command or a request: exit code 2 on the command line. */
export class UsageError extends FlanError {
  constructor(message: string) {
    super('usage', message);
  }
}

/** The request was cancelled by its owner. Never shown as a failure. */
export class CancelledError extends FlanError {
  constructor() {
    super('cancelled', 'Stopped.');
  }
}
