/** One file of the hub, read by ranges: where its bytes are served, and whether it is still the same file. */

import { say } from '../../saying';
import { HubChangedError, HubTokenError, HubUnknownError, NoRangesError } from './errors';
import { type Answer, answered, type Line, RetryableError } from './line';

/** A file as the hub lists it. */
export interface ListedFile {
  readonly path: string;
  readonly bytes: number;
  /** Of large files, hexadecimal. */
  readonly sha256?: string;
  /** Of small ones, git's own: SHA-1 of `blob SIZE\0` and the content. */
  readonly gitSum?: string;
}

export class HubFile {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string | undefined;
  readonly #line: Line;
  readonly #url: string;
  readonly #repository: string;
  /** Where the hub sent us; asked for anew when that is refused, because such addresses expire. */
  #direct: string | undefined;
  #etag: string | undefined;

  constructor(line: Line, repository: string, commit: string, file: ListedFile) {
    this.path = file.path;
    this.bytes = file.bytes;
    this.sha256 = file.sha256;
    this.#line = line;
    this.#repository = repository;
    const path = file.path.split('/').map(encodeURIComponent).join('/');
    this.#url = `${line.hub}/${repository}/resolve/${encodeURIComponent(commit)}/${path}`;
  }

  /** What it is called in messages. */
  get label(): string {
    return `${this.#repository}/${this.path}`;
  }

  /** Forgets what is known of its state: the next request is taken as it comes. */
  reset(): void {
    this.#direct = undefined;
    this.#etag = undefined;
  }

  /**
   * Fills `target` from the byte `from` of the file on. What has arrived is not asked for again after a failure.
   *
   * @param onBytes called for everything that arrives.
   * @throws NoRangesError where the server sends only whole files; HubChangedError when it is no longer the file that was
   * listed; HubLineError, HubTokenError, CancelledError.
   */
  async range(target: Uint8Array, from: number, onBytes: (bytes: number) => void = () => {}): Promise<void> {
    let got = 0;
    await this.#line.retry(this.label, async (moved) => {
      if (got === target.length) return;
      const answer = await this.#get(from + got, from + target.length);
      await this.read(answer, (chunk) => {
        const wanted = chunk.subarray(0, target.length - got);
        target.set(wanted, got);
        got += wanted.length;
        onBytes(wanted.length);
        moved();
        return got < target.length;
      });
      if (got < target.length) throw new RetryableError(say('the connection ended too early'));
    });
  }

  /** The whole file in one stream, for servers that send nothing else. `consume` may be called from the start again. */
  async whole(start: () => Promise<void>, consume: (chunk: Uint8Array) => Promise<void>): Promise<void> {
    await this.#line.retry(this.label, async () => {
      await start();
      const answer = this.#checked(await this.#line.get(this.#url, {}));
      let got = 0;
      await this.read(answer, async (chunk) => {
        got += chunk.length;
        await consume(chunk);
        return got <= this.bytes;
      });
      if (got < this.bytes) throw new RetryableError(say('the connection ended too early'));
      if (got > this.bytes) throw new HubChangedError(this.label);
    });
  }

  /** Hands out a body until `take` says false or it ends, and gives up a connection that gives next to nothing. */
  async read(answer: Answer, take: (chunk: Uint8Array) => boolean | Promise<boolean>): Promise<void> {
    const { slowBytes, slowMs } = this.#line.limits;
    let since = performance.now();
    let arrived = 0;
    try {
      for await (const chunk of answer.body as AsyncIterable<Uint8Array>) {
        if (!(await take(chunk))) return;
        arrived += chunk.length;
        const now = performance.now();
        if (now - since < slowMs) continue;
        if (arrived < slowBytes) throw new RetryableError(say('the connection gives next to nothing'));
        since = now;
        arrived = 0;
      }
    } finally {
      answer.body.destroy();
    }
  }

  async #get(from: number, to: number): Promise<Answer> {
    const direct = this.#direct;
    const condition = this.#etag === undefined ? undefined : { 'if-range': this.#etag };
    const answer = await this.#line.get(direct ?? this.#url, { range: `bytes=${from}-${to - 1}`, ...condition });
    try {
      // Only the hub itself says what may be read; an address that it gave may have expired.
      if (answer.url !== this.#url && answer.status >= 400 && answer.status !== 416) {
        this.reset();
        throw new RetryableError(answered(answer.status), direct === undefined ? undefined : 0);
      }
      this.#checked(answer);
      const etag = answer.header('etag');
      const changed = this.#etag !== undefined && etag !== undefined && etag !== this.#etag;
      if (changed || answer.status === 416) throw new HubChangedError(this.label);
      if (answer.status === 200) {
        const length = Number(answer.header('content-length') ?? this.bytes);
        if (length !== this.bytes) throw new HubChangedError(this.label);
        if (from !== 0 || to !== this.bytes) throw new NoRangesError(this.label);
      } else {
        const [, start, , total] = /^bytes (\d+)-(\d+)\/(\d+)$/.exec(answer.header('content-range') ?? '') ?? [];
        if (Number(start) !== from) throw new RetryableError(say('the server sent another part than was asked for'));
        if (Number(total) !== this.bytes) throw new HubChangedError(this.label);
      }
      // A weak one does not promise the same bytes.
      if (etag !== undefined && !etag.startsWith('W/')) this.#etag = etag;
      if (answer.url !== this.#url) this.#direct = answer.url;
      return answer;
    } catch (error) {
      answer.body.destroy();
      throw error;
    }
  }

  #checked(answer: Answer): Answer {
    if (answer.status !== 200 && answer.status !== 206 && answer.status !== 416) {
      answer.body.destroy();
      throw refusal(answer, this.#line, this.#repository, this.label);
    }
    return answer;
  }
}

/** What an answer that is no success means, once retries are ruled out. `what`: the file or revision asked for. */
export function refusal(
  answer: Pick<Answer, 'status' | 'header'>,
  line: Line,
  repository: string,
  what: string,
): Error {
  const code = answer.header('x-error-code');
  const page = `${line.hub}/${repository}`;
  if (answer.status === 401 || answer.status === 403) {
    const reason = code === 'GatedRepo' ? 'gated' : line.hasToken ? 'refused' : 'none';
    return new HubTokenError(repository, line.hub, reason);
  }
  if (answer.status === 404 && code === 'RepoNotFound') return new HubTokenError(repository, line.hub, 'refused');
  if (answer.status === 404 && code === 'RevisionNotFound') {
    return new HubUnknownError(say('{0} is not there: no such branch, tag or commit. See {1}.', what, page));
  }
  if (answer.status === 404) {
    return new HubUnknownError(say('{0} is not there. Check the name, or see {1}.', what, page));
  }
  return new RetryableError(answered(answer.status));
}
