/**
 * The line to the hub: one request at a time is easy, a download of hours is not. Redirects, proxies, retries with
 * back-off, and connections that give nothing more are dealt with here; what is asked for, callers know.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Dispatcher, EnvHttpProxyAgent, request } from 'undici';
import { CancelledError, FlanError } from '../../errors';
import { inEnglish, type Saying, say, verbatim } from '../../saying';
import { errorCode } from '../small';
import { HubLineError, HubOfflineError } from './errors';

export interface LineLimits {
  /** Failures in a row, without a byte in between, after which a download is given up for now. */
  readonly tries: number;
  /** The same before the hub has ever answered: whoever is offline should hear it soon. */
  readonly firstTries: number;
  /** The first wait; each further one is twice as long, up to `maxWaitMs`. */
  readonly waitMs: number;
  readonly maxWaitMs: number;
  /** Longest wait that a server may ask for. */
  readonly maxRetryAfterMs: number;
  readonly connectMs: number;
  /** A connection that is silent for so long is given up. */
  readonly silentMs: number;
  /** Fewer bytes than this in `slowMs` are as good as silence. */
  readonly slowBytes: number;
  readonly slowMs: number;
  /** Connections to one server. */
  readonly connections: number;
}

export const LINE_LIMITS: LineLimits = {
  tries: 10,
  firstTries: 4,
  waitMs: 500,
  maxWaitMs: 30_000,
  maxRetryAfterMs: 10 * 60_000,
  connectMs: 15_000,
  silentMs: 30_000,
  slowBytes: 32 * 1024,
  slowMs: 30_000,
  connections: 8,
};

const MAX_REDIRECTS = 10;
const RETRIED = [408, 425, 429, 500, 502, 503, 504];
/** The certificate is not one that this machine trusts: trying again does not help. */
const UNTRUSTED = /CERT|SELF_SIGNED|UNABLE_TO_(?:GET|VERIFY)/;

/** Worth another try. `afterMs`: the server said when. */
export class RetryableError extends Error {
  readonly reason: Saying;
  readonly afterMs: number | undefined;

  constructor(reason: Saying, afterMs?: number, options?: ErrorOptions) {
    super(inEnglish(reason), options);
    this.reason = reason;
    this.afterMs = afterMs;
  }
}

/** The reason that a status is. */
export function answered(status: number): Saying {
  return say('the server answered {0}', `${status}`);
}

export interface Answer {
  readonly status: number;
  /** The address that answered, after redirects. */
  readonly url: string;
  readonly body: Dispatcher.ResponseData['body'];
  header(name: string): string | undefined;
}

export interface LineOptions {
  /** The hub's address; the token goes nowhere else. */
  readonly hub: string;
  readonly accessToken?: string | undefined;
  readonly proxy?: string | undefined;
  readonly noProxy?: string | undefined;
  readonly limits?: Partial<LineLimits> | undefined;
  readonly signal: AbortSignal;
  /** Called before every wait: why, and how long. */
  readonly onWait?: (reason: string, ms: number) => void;
}

export class Line {
  readonly hub: string;
  readonly limits: LineLimits;
  readonly hasToken: boolean;
  readonly signal: AbortSignal;
  readonly #token: string | undefined;
  readonly #dispatcher: Dispatcher;
  readonly #onWait: (reason: string, ms: number) => void;
  #answered = false;

  constructor({ hub, accessToken, proxy, noProxy, limits, signal, onWait }: LineOptions) {
    this.hub = hub;
    this.limits = { ...LINE_LIMITS, ...limits };
    this.#token = accessToken || undefined;
    this.hasToken = this.#token !== undefined;
    this.signal = signal;
    this.#onWait = onWait ?? (() => {});
    const { connectMs, silentMs, connections } = this.limits;
    // Node's own fetch of this version knows no proxies.
    this.#dispatcher = new EnvHttpProxyAgent({
      ...(proxy ? { httpProxy: proxy, httpsProxy: proxy } : {}),
      ...(noProxy ? { noProxy } : {}),
      connections,
      connect: { timeout: connectMs },
      headersTimeout: silentMs,
      bodyTimeout: silentMs,
    });
  }

  /**
   * One request, redirects followed. The caller reads the body or destroys it.
   *
   * @throws RetryableError for what may pass; CancelledError; HubOfflineError for a certificate that is not trusted.
   */
  async get(url: string, headers: Readonly<Record<string, string>> = {}): Promise<Answer> {
    let at = url;
    for (let redirects = 0; ; redirects++) {
      const answer = await this.#request(at, headers);
      const location = answer.header('location');
      if (answer.status < 300 || answer.status >= 400 || location === undefined) {
        if (!RETRIED.includes(answer.status)) return answer;
        answer.body.destroy();
        throw new RetryableError(answered(answer.status), retryAfter(answer.header('retry-after')));
      }
      answer.body.destroy();
      if (redirects >= MAX_REDIRECTS) throw new RetryableError(say('the server redirects without end'));
      at = new URL(location, at).href;
    }
  }

  /**
   * Runs `attempt` until it succeeds or fails for good. It calls `moved` when something has arrived: then the count of
   * failures starts again.
   *
   * @param what is fetched, for messages.
   */
  async retry<T>(what: string | Saying, attempt: (moved: () => void) => Promise<T>): Promise<T> {
    let failures = 0;
    for (;;) {
      try {
        return await attempt(() => {
          failures = 0;
        });
      } catch (error) {
        if (this.signal.aborted) throw new CancelledError();
        const again = this.#asRetryable(error);
        if (!again) throw error;
        failures++;
        const { tries, firstTries, maxRetryAfterMs } = this.limits;
        if (failures >= (this.#answered ? tries : firstTries) || (again.afterMs ?? 0) > maxRetryAfterMs) {
          if (this.#answered) throw new HubLineError(what, again.reason, { cause: error });
          throw new HubOfflineError(new URL(this.hub).host, again.reason, { cause: error });
        }
        await this.#wait(again, failures);
      }
    }
  }

  /** Closes all connections. */
  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  async #wait(error: RetryableError, failures: number): Promise<void> {
    const { waitMs, maxWaitMs } = this.limits;
    // Clients that failed together should not come back together.
    const backOff = Math.min(maxWaitMs, waitMs * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
    const ms = error.afterMs ?? backOff;
    if (ms >= 1000) this.#onWait(error.message, ms);
    await sleep(ms, undefined, { signal: this.signal }).catch(() => {
      throw new CancelledError();
    });
  }

  async #request(url: string, headers: Readonly<Record<string, string>>): Promise<Answer> {
    const ours = new URL(url).origin === new URL(this.hub).origin;
    const authorization = ours && this.#token !== undefined ? { authorization: `Bearer ${this.#token}` } : {};
    const {
      statusCode,
      headers: answered,
      body,
    } = await request(url, {
      dispatcher: this.#dispatcher,
      signal: this.signal,
      headers: { 'user-agent': 'flan', ...headers, ...authorization },
    });
    this.#answered = true;
    body.on('error', () => {}); // Whoever reads it is told; a body that nobody reads any more may fail.
    return {
      status: statusCode,
      url,
      body,
      header: (name) => {
        const value = answered[name];
        return Array.isArray(value) ? value[0] : value;
      },
    };
  }

  #asRetryable(error: unknown): RetryableError | undefined {
    if (error instanceof RetryableError) return error;
    if (error instanceof FlanError) return undefined;
    const code = errorCode(error);
    if (code === undefined) return undefined;
    if (UNTRUSTED.test(code)) {
      const remedy = say(
        'its certificate is not trusted: {0}; behind a proxy that opens connections, name its certificate in NODE_EXTRA_CA_CERTS',
        code,
      );
      throw new HubOfflineError(new URL(this.hub).host, remedy, { cause: error });
    }
    const known = /^(?:UND_ERR_|E[A-Z]+|ERR_SSL|ERR_TLS|HPE_)/.test(code);
    return known ? new RetryableError(reasonOf(code), undefined, { cause: error }) : undefined;
  }
}

/** Milliseconds of a Retry-After header: seconds, or a date. */
export function retryAfter(value: string | undefined, now = Date.now()): number | undefined {
  if (value === undefined) return undefined;
  if (/^\d+$/.test(value.trim())) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

function reasonOf(code: string): Saying {
  switch (code) {
    case 'ENOTFOUND':
    case 'EAI_AGAIN':
      return say('its name is not known here');
    case 'ECONNREFUSED':
      return say('the connection is refused');
    case 'ETIMEDOUT':
    case 'UND_ERR_CONNECT_TIMEOUT':
    case 'UND_ERR_HEADERS_TIMEOUT':
    case 'UND_ERR_BODY_TIMEOUT':
      return say('no answer in time');
    case 'ECONNRESET':
    case 'EPIPE':
    case 'UND_ERR_SOCKET':
    case 'UND_ERR_RES_CONTENT_LENGTH_MISMATCH':
      return say('the connection was cut');
    default:
      return verbatim(code);
  }
}
