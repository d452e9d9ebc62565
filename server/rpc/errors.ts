/**
 * Errors on the wire: a FlanError becomes a JSON-RPC error with `data.code`, and with `data.saying` where it can be said in
 * other languages; it is made into one again by the client.
 */
import { ErrorCodes, ResponseError } from 'vscode-jsonrpc';
import { CancelledError, FlanError, UsageError } from '../errors';
import type { Saying } from '../saying';

/** Of the language server protocol: cancelled by the client; failed although the request was in order. */
const REQUEST_CANCELLED = -32800;
const REQUEST_FAILED = -32803;

/** The JSON-RPC library reports these itself, in the form of an error response. */
const CONNECTION_CODES: readonly number[] = [
  ErrorCodes.MessageWriteError,
  ErrorCodes.MessageReadError,
  ErrorCodes.PendingResponseRejected,
  ErrorCodes.ConnectionInactive,
];

export interface ErrorData {
  readonly code: string;
  readonly saying?: Saying;
}

/** A name that the model thread, the server and a client agree on, for errors that were no FlanError. */
const INTERNAL = 'internal';

export class WrongTokenError extends FlanError {
  constructor() {
    super('wrong-token', 'The server refused this client: its token is not the one in the run folder. Connect again.');
  }
}

export class WrongProtocolError extends FlanError {
  constructor(ours: number, theirs: unknown) {
    super(
      'wrong-protocol',
      `The running flan server speaks protocol ${ours}, this client ${String(theirs)}. Run \`flan stop\`, then try again.`,
    );
  }
}

export class NotInitializedError extends FlanError {
  constructor() {
    super('not-initialized', 'Send initialize with a valid token first.');
  }
}

export function toResponseError(error: unknown): ResponseError<ErrorData> {
  if (error instanceof ResponseError) return error;
  const code = error instanceof FlanError ? error.code : INTERNAL;
  const message = error instanceof Error ? error.message : String(error);
  return new ResponseError(numberOf(error), message, { code, ...sayingOf(error) });
}

function numberOf(error: unknown): number {
  if (error instanceof CancelledError) return REQUEST_CANCELLED;
  if (error instanceof UsageError) return ErrorCodes.InvalidParams;
  return error instanceof FlanError ? REQUEST_FAILED : ErrorCodes.InternalError;
}

/** The error that a code and a message stand for, on the receiving side of a thread or a socket. */
export function fromCode(code: string, message: string, saying?: Saying): FlanError {
  if (code === 'cancelled') return new CancelledError();
  const said = saying ?? message;
  return code === 'usage' ? new UsageError(said) : new FlanError(code, said);
}

/** `saying` of an error that has one, to be spread into a message. */
export function sayingOf(error: unknown): { readonly saying?: Saying } {
  return error instanceof FlanError && error.saying !== undefined ? { saying: error.saying } : {};
}

/** True for what a broken connection gives instead of an answer; the server has said nothing then. */
export function isConnectionError(error: unknown): boolean {
  if (error instanceof FlanError) return false;
  return !(error instanceof ResponseError) || CONNECTION_CODES.includes(error.code);
}

/** What a client throws for an error response (or for a connection that broke). */
export function fromResponseError(error: unknown): FlanError {
  if (error instanceof FlanError) return error;
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof ResponseError) {
    const data: Partial<ErrorData> | undefined | null = error.data;
    return fromCode(typeof data?.code === 'string' ? data.code : INTERNAL, message, data?.saying);
  }
  return new FlanError(INTERNAL, message);
}

/** The code of any error, for messages between threads. */
export function codeOf(error: unknown): string {
  return error instanceof FlanError ? error.code : INTERNAL;
}
