/**
 * One connection to the server, and the language client that speaks over it. This is a bundle of its own
 * (`dist/link.js`): it is loaded at the first use, so that the editor's start does not pay for it.
 */
import { type CancellationToken, type Disposable, EventEmitter, type LogOutputChannel } from 'vscode';
import { CloseAction, ErrorAction, LanguageClient, ProgressType } from 'vscode-languageclient/node';
import { type Connection, connect, connectIfRunning } from '../server/connect';
import { Method, type PullInfo, type Status } from '../server/protocol';
import { immediate } from './turns';

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

/**
 * Requests, notifications and progress are all that is spoken here. The forty language features of the client would be set
 * up at each connection, for nothing.
 */
class PlainClient extends LanguageClient {
  override registerFeature(): void {}
}

export class Link {
  /** The server's process. */
  readonly pid: number;
  private readonly client: LanguageClient;
  private readonly statusEmitter = new EventEmitter<Status>();
  readonly onStatus = this.statusEmitter.event;
  private readonly pullEmitter = new EventEmitter<PullInfo>();
  readonly onPull = this.pullEmitter.event;
  /** Settles once, when the connection has ended for whatever reason. */
  readonly closed: Promise<void>;
  /** Undefined once the connection has ended. */
  private whenClosed: Set<() => void> | undefined = new Set();
  private readonly subscriptions: Disposable[] = [this.statusEmitter, this.pullEmitter];

  static async over(connection: Connection, log: LogOutputChannel): Promise<Link> {
    await immediate();
    const link = new Link(connection, log);
    try {
      await immediate();
      await link.client.start();
    } catch (error) {
      connection.socket.destroy();
      throw error;
    }
    return link;
  }

  private constructor(connection: Connection, log: LogOutputChannel) {
    this.pid = connection.pid;
    this.closed = new Promise((resolve) => {
      connection.socket.once('close', () => {
        const listeners = this.whenClosed ?? [];
        this.whenClosed = undefined;
        resolve();
        for (const listener of listeners) listener();
      });
    });
    this.client = new PlainClient(
      'flan',
      'Flan',
      () => Promise.resolve({ reader: connection.reader, writer: connection.writer, detached: true }),
      {
        initializationOptions: connection.hello,
        outputChannel: log,
        // The extension decides when to connect again, and its threads show what failed.
        initializationFailedHandler: () => false,
        errorHandler: {
          error: () => ({ action: ErrorAction.Continue, handled: true }),
          closed: () => ({ action: CloseAction.DoNotRestart, handled: true }),
        },
      },
    );
    this.subscriptions.push(
      this.client.onNotification(Method.statusChanged, (s: Status) => this.statusEmitter.fire(s)),
      this.client.onNotification(Method.pullChanged, (pull: PullInfo) => this.pullEmitter.fire(pull)),
    );
  }

  request<Result>(method: string, params: unknown, token?: CancellationToken): Promise<Result> {
    return this.client.sendRequest<Result>(method, params, token);
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
    return this.client.onProgress(new ProgressType<Said>(), token, handler);
  }

  /** Leaves the server alone: it stays for others, and ends by itself some time after its last client. */
  async close(): Promise<void> {
    for (const subscription of this.subscriptions.splice(0)) subscription.dispose();
    if (this.client.isRunning()) await this.client.stop();
  }
}
