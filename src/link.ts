/**
 * One connection to the server. This is a bundle of its own (`dist/link.js`): it is loaded at the first use, so that the
 * editor's start does not pay for it. Plain JSON-RPC: a language client would take 90 ms of the extension host to load,
 * and all that it adds is about documents, of which this server knows nothing.
 */
import { type CancellationToken, type Disposable, EventEmitter, type LogOutputChannel } from 'vscode';
import { createMessageConnection, type MessageConnection } from 'vscode-jsonrpc/node';
import { type Connection, connect, connectIfRunning } from '../server/connect';
import { Method, type PullInfo, type Status } from '../server/protocol';

export interface LinkOptions {
  readonly serverPath: string;
  readonly home?: string;
  readonly nodePath?: string;
  readonly lingerSeconds: number;
  readonly log: LogOutputChannel;
}

const CLIENT = 'editor';

/** Connects to the running server, or starts one. Throws the server's `FlanError` when it does not come up. */
export async function openLink(options: LinkOptions): Promise<Link> {
  const { serverPath, home, nodePath } = options;
  const connection = await connect({
    serverPath,
    linger: options.lingerSeconds,
    client: CLIENT,
    ...(home === undefined ? {} : { home }),
    ...(nodePath === undefined ? {} : { nodePath }),
  });
  return Link.over(connection, options.log);
}

/** Connects to the running server, if there is one; starts nothing. */
export async function openLinkIfRunning(options: LinkOptions): Promise<Link | undefined> {
  const { home } = options;
  const connection = await connectIfRunning({ client: CLIENT, ...(home === undefined ? {} : { home }) });
  return connection === undefined ? undefined : Link.over(connection, options.log);
}

export class Link {
  /** The server's process. */
  readonly pid: number;
  private readonly connection: Connection;
  private readonly rpc: MessageConnection;
  private readonly listeners = new Map<string, (said: never) => void>();
  private readonly statusEmitter = new EventEmitter<Status>();
  readonly onStatus = this.statusEmitter.event;
  private readonly pullEmitter = new EventEmitter<PullInfo>();
  readonly onPull = this.pullEmitter.event;
  /** Settles once, when the connection has ended for whatever reason. */
  readonly closed: Promise<void>;
  /** Undefined once the connection has ended. */
  private whenClosed: Set<() => void> | undefined = new Set();

  static async over(connection: Connection, log: LogOutputChannel): Promise<Link> {
    const link = new Link(connection, log);
    try {
      await link.request('initialize', {
        processId: process.pid,
        rootUri: null,
        capabilities: {},
        initializationOptions: connection.hello,
      });
      await link.rpc.sendNotification('initialized', {});
      return link;
    } catch (error) {
      link.close();
      throw error;
    }
  }

  private constructor(connection: Connection, log: LogOutputChannel) {
    this.pid = connection.pid;
    this.connection = connection;
    this.rpc = createMessageConnection(connection.reader, connection.writer);
    this.closed = new Promise((resolve) => {
      connection.socket.once('close', () => {
        const listeners = this.whenClosed ?? [];
        this.whenClosed = undefined;
        resolve();
        for (const listener of listeners) listener();
      });
    });
    // The end of the socket, which follows, says all.
    connection.socket.on('error', () => undefined);
    this.rpc.onError(([error]) => {
      log.error(`Connection: ${error.message}`);
      connection.socket.destroy();
    });
    this.rpc.onNotification('$/progress', ({ token, value }: { readonly token: string; readonly value: never }) =>
      this.listeners.get(token)?.(value),
    );
    this.rpc.onNotification(Method.statusChanged, (status: Status) => this.statusEmitter.fire(status));
    this.rpc.onNotification(Method.pullChanged, (pull: PullInfo) => this.pullEmitter.fire(pull));
    this.rpc.listen();
  }

  async request<Result>(method: string, params: unknown, token?: CancellationToken): Promise<Result> {
    // An undefined argument would be sent as one.
    const args = [...(params === null ? [] : [params]), ...(token === undefined ? [] : [token])];
    return this.rpc.sendRequest<Result>(method, ...args);
  }

  /**
   * Calls `listener` when the connection ends, or soon if it has, until disposed. For what is over before the connection:
   * a `then` of `closed` would be kept, with all that it leads to, as long as that lives.
   */
  onClosed(listener: () => void): Disposable {
    const listeners = this.whenClosed;
    if (listeners === undefined) queueMicrotask(listener);
    else listeners.add(listener);
    return { dispose: () => listeners?.delete(listener) };
  }

  /** Calls `handler` for every progress value that carries `token`, until disposed. */
  onProgress<Said>(token: string, handler: (progress: Said) => void): Disposable {
    this.listeners.set(token, handler);
    return { dispose: () => this.listeners.delete(token) };
  }

  /** Leaves the server alone: it stays for others, and ends by itself some time after its last client. */
  close(): void {
    this.statusEmitter.dispose();
    this.pullEmitter.dispose();
    this.rpc.dispose();
    this.connection.socket.destroy();
  }
}
