/** The command line's side of the connection: finds or starts the server, introduces itself, and asks. */
import { join } from 'node:path';
import { type CancellationToken, createMessageConnection, type MessageConnection } from 'vscode-jsonrpc/node';
import { type Connection, type ConnectOptions, connect, connectIfRunning } from '../connect';
import { FlanError } from '../errors';
import type { Progress, PromptProgress } from '../protocol';
import { fromResponseError, isConnectionError } from '../rpc/errors';

/** The connection broke before the answer came: the process was killed, or native code in it failed. */
export class ServerGoneError extends FlanError {
  constructor(log: string) {
    super('server-gone', `The flan server ended before it answered. Run the command again; its log is ${log}`);
  }
}

/** It runs and holds the socket, but not even says hello: stopped, or in trouble. */
export class ServerHangsError extends FlanError {
  constructor(pid: number) {
    super('server-hangs', `The flan server (process ${pid}) does not answer. End that process, then try again.`);
  }
}

/** The server's own thread never computes: it says hello within milliseconds, on a busy machine within a second. */
const HELLO_TIMEOUT_MS = 10_000;
const OPTIONS: ConnectOptions = { serverPath: join(__dirname, 'server.js'), client: 'cli' };

export class ServerClient {
  readonly pid: number;
  readonly #connection: Connection;
  readonly #rpc: MessageConnection;
  readonly #gone: Promise<never>;
  readonly #listeners = new Map<number, (progress: PromptProgress) => void>();
  #nextToken = 1;

  private constructor(connection: Connection) {
    this.pid = connection.pid;
    this.#connection = connection;
    const rpc = createMessageConnection(connection.reader, connection.writer);
    this.#rpc = rpc;
    this.#gone = new Promise((_, reject) => {
      connection.socket.once('close', () => reject(new ServerGoneError(connection.log)));
    });
    // Only requests that are waiting care; without one the rejection is no fault.
    this.#gone.catch(() => {});
    connection.socket.on('error', () => {});
    rpc.onError(() => connection.socket.destroy());
    rpc.onNotification('$/progress', ({ token, value }: { token: number; value: PromptProgress }) => {
      this.#listeners.get(token)?.(value);
    });
    rpc.listen();
  }

  /** Connects, starting the server if none runs. */
  static async open(): Promise<ServerClient> {
    try {
      return await ServerClient.#introduce(await connect(OPTIONS));
    } catch (error) {
      // It was leaving just as we came; the next one is ours.
      if (error instanceof ServerGoneError) return ServerClient.#introduce(await connect(OPTIONS));
      throw error;
    }
  }

  /** Connects to the running server; undefined when there is none. */
  static async find(): Promise<ServerClient | undefined> {
    const connection = await connectIfRunning(OPTIONS);
    return connection === undefined ? undefined : ServerClient.#introduce(connection);
  }

  static async #introduce(connection: Connection): Promise<ServerClient> {
    const client = new ServerClient(connection);
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new ServerHangsError(connection.pid)), HELLO_TIMEOUT_MS);
    });
    try {
      const hello = client.request('initialize', {
        processId: process.pid,
        rootUri: null,
        capabilities: {},
        initializationOptions: connection.hello,
      });
      await Promise.race([hello, late]);
      await client.#rpc.sendNotification('initialized', {});
      return client;
    } catch (error) {
      client.close();
      throw error;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Asks; rejects with a FlanError. With a token, cancelling makes the server answer within one token of the model. */
  async request<R>(method: string, params: object | null, token?: CancellationToken): Promise<R> {
    try {
      // An undefined argument would be sent as one.
      const args = [...(params === null ? [] : [params]), ...(token === undefined ? [] : [token])];
      const answer: Promise<R> = this.#rpc.sendRequest(method, ...args);
      return await Promise.race([answer, this.#gone]);
    } catch (error) {
      if (isConnectionError(error)) throw new ServerGoneError(this.#connection.log);
      throw fromResponseError(error);
    }
  }

  /** As `request`, with the progress that the server reports meanwhile. */
  async requestWithProgress<R, P extends PromptProgress = Progress>(
    method: string,
    params: object,
    onProgress: (progress: P) => void,
    token?: CancellationToken,
  ): Promise<R> {
    const progressToken = this.#nextToken++;
    // A method has progress of its own kinds only.
    this.#listeners.set(progressToken, onProgress as (progress: PromptProgress) => void);
    try {
      return await this.request<R>(method, { ...params, progressToken }, token);
    } finally {
      this.#listeners.delete(progressToken);
    }
  }

  /** Resolves when the server has closed the connection. */
  async closed(): Promise<void> {
    await this.#gone.catch(() => {});
  }

  close(): void {
    this.#rpc.dispose();
    this.#connection.socket.destroy();
  }
}
