/** All connections of the server: accepts them, counts them, and tells each of them when the status changes. */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { PullInfo, Status } from '../protocol';
import { Session, type SessionDeps } from './session';

const END_TIMEOUT_MS = 500;

export interface ClientsDeps extends Pick<SessionDeps, 'version' | 'handlers' | 'log'> {
  /** Called with the number of clients that introduced themselves, whenever it changes. */
  readonly counted: (count: number) => void;
  readonly status: () => Status;
  /** Whether this server works on something that outlives its clients. */
  readonly busy: () => boolean;
  /** Called when nobody uses this server and a client of another build wants it to leave. */
  readonly replace: () => void;
}

export class Clients {
  readonly #deps: ClientsDeps;
  readonly #sessions = new Set<Session>();
  #nextId = 1;
  #lastStatus = '';
  /** Set once the socket is open: no connection can be accepted before. */
  token = '';

  constructor(deps: ClientsDeps) {
    this.#deps = deps;
  }

  get count(): number {
    let count = 0;
    for (const session of this.#sessions) if (session.initialized) count++;
    return count;
  }

  accept(socket: Socket): void {
    const { version, handlers, log } = this.#deps;
    const session = new Session(this.#nextId++, socket, {
      token: this.token,
      version,
      handlers,
      log,
      replace: () => {
        if (this.count > 0 || this.#deps.busy()) return false;
        this.#deps.replace();
        return true;
      },
      opened: (opened) => {
        log(`client ${opened.id} (${opened.name}) connected`);
        this.#changed();
      },
      closed: (closed) => {
        this.#sessions.delete(closed);
        if (!closed.initialized) return;
        log(`client ${closed.id} (${closed.name}) left`);
        this.#changed();
      },
    });
    this.#sessions.add(session);
  }

  /** Sends the status to every client if it differs from what was sent last. */
  broadcast(): void {
    const status = this.#deps.status();
    const text = JSON.stringify(status);
    if (text === this.#lastStatus) return;
    this.#lastStatus = text;
    for (const session of this.#sessions) if (session.initialized) session.sendStatus(status);
  }

  /** Tells every client of a pull. */
  tellOfPull(pull: PullInfo): void {
    for (const session of this.#sessions) if (session.initialized) session.sendPull(pull);
  }

  /** Ends all connections; does not wait for long for clients that do not read their last answers. */
  async endAll(): Promise<void> {
    const ends = Promise.all([...this.#sessions].map((session) => session.end()));
    await Promise.race([ends, sleep(END_TIMEOUT_MS)]);
  }

  #changed(): void {
    this.#deps.counted(this.count);
    this.broadcast();
  }
}
