/**
 * One client: a JSON-RPC connection with the life of a language server's (initialize, initialized, shutdown, exit), except
 * that `exit` ends this connection and not the process. Nothing is answered before `initialize` brought the token.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Socket } from 'node:net';
import {
  type CancellationToken,
  CancellationTokenSource,
  createMessageConnection,
  ErrorCodes,
  Message,
  type MessageConnection,
  ResponseError,
  StreamMessageReader,
  StreamMessageWriter,
} from 'vscode-jsonrpc/node';
import { UsageError } from '../errors';
import { Method, PROTOCOL, type PromptProgress, type PullInfo, type Status } from '../protocol';
import { NotInitializedError, toResponseError, WrongProtocolError, WrongTokenError } from './errors';
import { FrameGuard } from './frames';
import { hello } from './params';

/** A client that has not introduced itself by then is no client of ours. */
const INITIALIZE_TIMEOUT_MS = 30_000;
/** A client that does not read: what piles up for it here is bounded. */
const MAX_UNREAD_BYTES = 32 * 1024 * 1024;

export type SendProgress = (progress: PromptProgress) => void;
export type Handler = (client: number, params: unknown, token: CancellationToken, progress: SendProgress) => unknown;

export interface SessionDeps {
  readonly token: string;
  readonly version: string;
  /** By method name. */
  readonly handlers: ReadonlyMap<string, Handler>;
  /** True when this server leaves for one of another build. */
  readonly replace: () => boolean;
  readonly opened: (session: Session) => void;
  readonly closed: (session: Session) => void;
  readonly log: (line: string) => void;
}

export class Session {
  readonly id: number;
  name = 'unknown';
  readonly #socket: Socket;
  readonly #deps: SessionDeps;
  readonly #connection: MessageConnection;
  /** Cancelled when the client goes: whatever it asked for is of no use to anybody then. */
  readonly #gone = new CancellationTokenSource();
  /** Taken at once: a source whose token was never asked for cannot be cancelled twice (shutdown, then the socket's end). */
  readonly #goneToken = this.#gone.token;
  readonly #timer: NodeJS.Timeout;
  #initialized = false;
  #unanswered = 0;
  #ending = false;

  constructor(id: number, socket: Socket, deps: SessionDeps) {
    this.id = id;
    this.#socket = socket;
    this.#deps = deps;
    const guard = new FrameGuard();
    const drop = (error: Error) => {
      deps.log(`client ${id} (${this.name}): ${error.message}`);
      socket.destroy();
    };
    guard.on('error', drop);
    socket.on('error', drop);
    socket.on('close', () => this.#close());
    this.#connection = createMessageConnection(
      new StreamMessageReader(socket.pipe(guard)),
      new AnswerWriter(socket, () => this.#answered()),
      { error: deps.log, warn: deps.log, info: deps.log, log: () => {} },
    );
    // Malformed JSON: what follows cannot be trusted to be in step.
    this.#connection.onError(([error]) => drop(error));
    this.#connection.onRequest((method, params, token) => this.#request(method, params, token));
    this.#connection.onNotification((method) => this.#notification(method));
    this.#timer = setTimeout(() => socket.destroy(), INITIALIZE_TIMEOUT_MS);
    this.#connection.listen();
  }

  get initialized(): boolean {
    return this.#initialized;
  }

  sendStatus(status: Status): void {
    this.#send(Method.statusChanged, status);
  }

  sendPull(pull: PullInfo): void {
    this.#send(Method.pullChanged, pull);
  }

  /** Ends the connection when every request is answered; resolves when the other side has ended it, too. */
  end(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#socket.destroyed) return resolve();
      this.#socket.once('close', () => resolve());
      this.#ending = true;
      this.#endIfAnswered();
    });
  }

  #answered(): void {
    this.#unanswered--;
    this.#endIfAnswered();
  }

  #endIfAnswered(): void {
    if (this.#ending && this.#unanswered <= 0) this.#socket.end();
  }

  async #request(method: string, params: unknown, token: CancellationToken): Promise<unknown> {
    this.#unanswered++;
    try {
      if (method === 'initialize') return this.#initialize(unwrap(params));
      if (method === Method.replace) return this.#replace(unwrap(params));
      if (!this.#initialized) throw new NotInitializedError();
      if (method === 'shutdown') {
        this.#gone.cancel();
        return null;
      }
      const handler = this.#deps.handlers.get(method);
      if (handler === undefined) return new ResponseError(ErrorCodes.MethodNotFound, `Unknown method ${method}.`);
      return await handler(this.id, unwrap(params), either(token, this.#goneToken), this.#progress(params));
    } catch (error) {
      const response = toResponseError(error);
      // Never the parameters, which hold the user's text; a usage error quotes them.
      const reason = error instanceof UsageError ? '' : `: ${response.message}`;
      this.#deps.log(`client ${this.id} (${this.name}) ${method}: ${response.data?.code}${reason}`);
      return response;
    }
  }

  #initialize(params: unknown): unknown {
    const options = (params as { initializationOptions?: unknown } | null)?.initializationOptions;
    const { token, protocol, client } = hello(options);
    const end = (error: Error): never => {
      void this.end();
      throw error;
    };
    if (token === undefined || !sameSecret(token, this.#deps.token)) end(new WrongTokenError());
    if (protocol !== PROTOCOL) end(new WrongProtocolError(PROTOCOL, protocol));
    clearTimeout(this.#timer);
    this.name = client ?? this.name;
    if (!this.#initialized) {
      this.#initialized = true;
      this.#deps.opened(this);
    }
    return { capabilities: {}, serverInfo: { name: 'flan', version: this.#deps.version } };
  }

  #replace(params: unknown): boolean {
    const { token } = hello(params);
    if (token === undefined || !sameSecret(token, this.#deps.token)) throw new WrongTokenError();
    return this.#deps.replace();
  }

  #notification(method: string): void {
    if (method === 'exit') this.#socket.end();
    // Others (initialized, $/setTrace, settings) are sent to any language server and mean nothing here.
  }

  #progress(params: unknown): SendProgress {
    const token = (unwrap(params) as { progressToken?: unknown } | null)?.progressToken;
    if (typeof token !== 'string' && typeof token !== 'number') return () => {};
    return (value) => this.#send('$/progress', { token, value });
  }

  #send(method: string, params: object): void {
    if (this.#socket.destroyed || !this.#socket.writable) return;
    if (this.#socket.writableLength > MAX_UNREAD_BYTES) {
      this.#deps.log(`client ${this.id} (${this.name}) does not read; dropped`);
      this.#socket.destroy();
      return;
    }
    try {
      this.#connection.sendNotification(method, params).catch(() => {});
    } catch {
      // Closed between the check above and here, or its reading side is: the socket's own handler tells.
    }
  }

  #close(): void {
    clearTimeout(this.#timer);
    this.#gone.cancel();
    this.#connection.dispose();
    this.#deps.closed(this);
  }
}

/** Tells when an answer has been written: the library writes it some time after its handler is done. */
class AnswerWriter extends StreamMessageWriter {
  readonly #answered: () => void;

  constructor(socket: Socket, answered: () => void) {
    super(socket);
    this.#answered = answered;
  }

  override async write(message: Message): Promise<void> {
    await super.write(message);
    if (Message.isResponse(message)) this.#answered();
  }
}

/** JSON-RPC allows params by position; ours are one object. */
function unwrap(params: unknown): unknown {
  return (Array.isArray(params) ? params[0] : params) ?? null;
}

function sameSecret(given: string, secret: string): boolean {
  const a = Buffer.from(given);
  const b = Buffer.from(secret);
  return a.length === b.length && timingSafeEqual(a, b);
}

/** Cancelled when either is. */
function either(a: CancellationToken, b: CancellationToken): CancellationToken {
  return {
    get isCancellationRequested() {
      return a.isCancellationRequested || b.isCancellationRequested;
    },
    onCancellationRequested: (listener, thisArgs) => {
      const subscriptions = [a, b].map((token) => token.onCancellationRequested(listener, thisArgs));
      return { dispose: () => subscriptions.forEach((s) => void s.dispose()) };
    },
  };
}
