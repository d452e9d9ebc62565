/**
 * A hub for tests, on this machine: the paths, headers and errors of the Hugging Face hub as far as a download of models
 * needs them, and faults on purpose. Large files are sent from the disk, so that it can also be measured against.
 */
import { createReadStream, readdirSync, statSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { about, type Content, commitOf, entryOf, type HubFile, hubFile, portions, type Repository } from './hub_files';

/** What a request asks for, as faults are chosen by. */
export interface HubRequest {
  /** `api`: about a repository. `resolve`: a file's address. `data`: its bytes, from the content network for large files. */
  readonly kind: 'api' | 'resolve' | 'data';
  readonly repository: string;
  /** Of the file; empty for `api`. */
  readonly path: string;
  /** How many requests of this kind for this path came before. */
  readonly before: number;
  /** First byte asked for, and the one after the last; the whole file when no range was asked for. */
  readonly from: number;
  readonly to: number;
  readonly headers: IncomingMessage['headers'];
}

export type Fault =
  /** Answers with an error; `retryAfter` in seconds. */
  | { readonly kind: 'status'; readonly status: number; readonly retryAfter?: number }
  /** Ends the connection after some bytes of the body. */
  | { readonly kind: 'cut'; readonly after: number }
  /** Turns a bit of the byte `at` of the file. */
  | { readonly kind: 'wrong-byte'; readonly at: number }
  /** Sends so many bytes less than it says, and keeps the connection open without another word. */
  | { readonly kind: 'stall'; readonly after: number }
  /** Sends `bytes` every `ms`. */
  | { readonly kind: 'drip'; readonly bytes: number; readonly ms: number }
  /** Knows no ranges: sends all of it. */
  | { readonly kind: 'no-range' }
  /** Redirects once more, to the same file under another address, `times` times. */
  | { readonly kind: 'redirect'; readonly times: number }
  /** Says that the file has another length, and sends that much. */
  | { readonly kind: 'wrong-size'; readonly bytes: number };

export interface RepositoryOptions {
  /** Names beside `main` under which it is served. */
  readonly revisions?: readonly string[];
  /** Needed to read anything. */
  readonly token?: string;
  /** Its files need the token; what is said about it does not. */
  readonly gated?: boolean;
  readonly license?: string;
}

export class HubStandIn {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  readonly #repositories = new Map<string, Repository>();
  readonly #counts = new Map<string, number>();
  /** Chooses a fault for a request; undefined serves it as it should be. */
  fault: (request: HubRequest) => Fault | undefined = () => undefined;
  /** Called after every part of a file that was handed to the network. */
  onServed: (servedBytes: number) => void = () => {};
  /** Every request so far. */
  readonly requests: (HubRequest & { status: number })[] = [];
  /** Bytes of files sent so far. */
  servedBytes = 0;

  private constructor() {
    this.#server = createServer((request, response) => {
      this.#answer(request, response).catch(() => response.destroy());
    });
    this.#server.on('connection', (socket) => {
      this.#sockets.add(socket);
      socket.on('close', () => this.#sockets.delete(socket));
    });
  }

  static async start(): Promise<HubStandIn> {
    const hub = new HubStandIn();
    await new Promise<void>((resolve) => hub.#server.listen(0, '127.0.0.1', resolve));
    return hub;
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** Connections that are open now. */
  get connections(): number {
    return this.#sockets.size;
  }

  /** Cuts all connections. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  async close(): Promise<void> {
    this.cut();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** Adds a repository `owner/name` with these files: by name, or all files of a folder. */
  add(name: string, files: string | Readonly<Record<string, Content | string>>, options: RepositoryOptions = {}): void {
    const { revisions = [], token, gated = false, license } = options;
    const entries =
      typeof files === 'string'
        ? readdirSync(files)
            .filter((file) => statSync(join(files, file)).isFile())
            .map((file): [string, Content] => [file, { file: join(files, file) }])
        : Object.entries(files).map(([path, c]): [string, Content] => [
            path,
            typeof c === 'string' ? Buffer.from(c) : c,
          ]);
    const known = new Map(entries.map(([path, content]) => [path, hubFile(path, content)]));
    this.#repositories.set(name, {
      commit: commitOf(known),
      files: known,
      revisions: new Set(['main', 'HEAD', ...revisions]),
      token,
      gated,
      license,
    });
  }

  /** Changes a file of a repository: another commit, another ETag. */
  replace(name: string, path: string, content: Content): void {
    const repository = this.#repositories.get(name);
    if (!repository) throw new Error(`no repository ${name}`);
    repository.files.set(path, hubFile(path, content));
    // The old commit is served no more: what was listed before is not what is there now, as on a mirror.
    repository.revisions.add(repository.commit);
    repository.commit = commitOf(repository.files);
  }

  commit(name: string): string {
    return this.#repositories.get(name)?.commit ?? '';
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', this.url);
    const path = url.pathname;
    const api = /^\/api\/models\/([^/]+\/[^/]+)\/(revision|tree)\/(.+)$/.exec(path);
    const file = /^\/([^/]+\/[^/]+)\/resolve\/([^/]+)\/(.+)$/.exec(path);
    const data = /^\/cdn\/([^/]+\/[^/]+)\/(.+)$/.exec(path);
    const [, repositoryName = '', , filePath = ''] = file ?? (data ? ['', data[1], '', data[2]] : (api ?? []));
    const kind = api ? 'api' : file ? 'resolve' : 'data';
    const name = api ? '' : decodeURIComponent(filePath);
    const repository = this.#repositories.get(repositoryName);
    const found = name === '' ? undefined : repository?.files.get(name);
    const [from, to] = rangeOf(request, found?.bytes ?? 0);
    const key = `${kind} ${repositoryName} ${name}`;
    const before = this.#counts.get(key) ?? 0;
    this.#counts.set(key, before + 1);
    const asked: HubRequest = {
      kind,
      repository: repositoryName,
      path: name,
      before,
      from,
      to,
      headers: request.headers,
    };
    const record = { ...asked, status: 0 };
    this.requests.push(record);
    response.on('finish', () => {
      record.status = response.statusCode;
    });
    const fault = this.fault(asked);
    if (fault?.kind === 'status') {
      const retry = fault.retryAfter === undefined ? {} : { 'Retry-After': String(fault.retryAfter) };
      return send(response, fault.status, { error: 'on purpose' }, retry);
    }
    // Addresses of the content network are signed: whoever has one may read.
    if (kind === 'data') return found ? this.#file(request, response, found, fault, asked) : send(response, 404, {});
    const authorized = request.headers.authorization === `Bearer ${repository?.token}`;
    const open = repository && (repository.token === undefined || authorized || (repository.gated && kind === 'api'));
    if (!repository || !open) {
      if (repository?.gated) {
        const status = request.headers.authorization === undefined ? 401 : 403;
        return send(
          response,
          status,
          { error: `Access to model ${repositoryName} is restricted.` },
          error('GatedRepo'),
        );
      }
      // The hub does not tell strangers which private repositories there are.
      return send(response, 401, { error: 'Invalid username or password.' }, error('RepoNotFound'));
    }
    const revision = decodeURIComponent((api?.[3] ?? file?.[2] ?? '').replace(/\?.*$/, ''));
    if (!repository.revisions.has(revision) && revision !== repository.commit) {
      return send(response, 404, { error: `Invalid rev id: ${revision}` }, error('RevisionNotFound'));
    }
    if (api?.[2] === 'revision') return send(response, 200, about(repositoryName, repository));
    if (api) return this.#tree(url, response, repository);
    if (!found) return send(response, 404, { error: 'Entry not found' }, error('EntryNotFound'));
    if (!found.lfs) return this.#file(request, response, found, fault, asked);
    const left = url.searchParams.get('turns');
    const turns = left === null ? (fault?.kind === 'redirect' ? fault.times : 0) : Number(left);
    const again = `${path}?turns=${turns - 1}`;
    const location =
      turns > 0 ? again : `${this.url}/cdn/${repositoryName}/${encodeURIComponent(name)}?signature=secret`;
    response.writeHead(302, {
      Location: location,
      'X-Repo-Commit': repository.commit,
      'X-Linked-Size': String(found.bytes),
      'X-Linked-ETag': `"${found.sha256}"`,
    });
    response.end();
  }

  /** In pages of three files, as the hub pages longer lists. */
  #tree(url: URL, response: ServerResponse, repository: Repository): void {
    const start = Number(url.searchParams.get('cursor') ?? 0);
    const all = [...repository.files].sort(([a], [b]) => (a < b ? -1 : 1));
    const page = all.slice(start, start + 3).map(([path, file]) => entryOf(path, file));
    const headers: Record<string, string> = {};
    if (start + 3 < all.length) {
      const next = new URL(url);
      next.searchParams.set('cursor', String(start + 3));
      headers['Link'] = `<${next.href}>; rel="next"`;
    }
    send(response, 200, page, headers);
  }

  async #file(
    request: IncomingMessage,
    response: ServerResponse,
    file: HubFile,
    fault: Fault | undefined,
    asked: HubRequest,
  ): Promise<void> {
    const condition = request.headers['if-range'];
    const unchanged = condition === undefined || condition === file.etag;
    const ranged = request.headers.range !== undefined && unchanged && fault?.kind !== 'no-range';
    if (ranged && asked.from >= file.bytes) {
      response.writeHead(416, { 'Content-Range': `bytes */${file.bytes}` });
      return void response.end();
    }
    const from = ranged ? asked.from : 0;
    let to = ranged ? asked.to : file.bytes;
    const total = fault?.kind === 'wrong-size' ? fault.bytes : file.bytes;
    if (fault?.kind === 'wrong-size') to = Math.min(to, total);
    response.writeHead(ranged ? 206 : 200, {
      ETag: file.etag,
      'Content-Length': String(to - from),
      ...(ranged ? { 'Content-Range': `bytes ${from}-${to - 1}/${total}` } : {}),
      ...(fault?.kind === 'no-range' ? {} : { 'Accept-Ranges': 'bytes' }),
    });
    if (request.method === 'HEAD') return void response.end();
    const source =
      file.content instanceof Uint8Array
        ? Readable.from(portions(file.content.subarray(from, to)))
        : 'file' in file.content
          ? createReadStream(file.content.file, { start: from, end: to - 1, highWaterMark: 256 * 1024 })
          : Readable.from(file.content.read(from, to));
    await pipeline(source, this.#through(fault, from, response), response).catch(() => response.destroy());
  }

  #through(fault: Fault | undefined, from: number, response: ServerResponse): Transform {
    let sent = 0;
    const count = (bytes: number) => {
      sent += bytes;
      this.servedBytes += bytes;
      this.onServed(this.servedBytes);
    };
    return new Transform({
      transform: async (chunk: Buffer, _encoding, done) => {
        if (fault?.kind === 'wrong-byte') {
          const at = fault.at - from - sent;
          if (at >= 0 && at < chunk.length) {
            chunk = Buffer.from(chunk);
            chunk[at] = (chunk[at] ?? 0) ^ 1;
          }
        }
        if ((fault?.kind === 'cut' || fault?.kind === 'stall') && sent + chunk.length > fault.after) {
          const rest = chunk.subarray(0, Math.max(0, fault.after - sent));
          response.write(rest, () => {
            if (fault.kind === 'cut') response.destroy();
          });
          count(rest.length);
          return; // Without `done`, nothing more is sent.
        }
        if (fault?.kind === 'drip') {
          for (let i = 0; i < chunk.length && !response.destroyed; i += fault.bytes) {
            response.write(chunk.subarray(i, i + fault.bytes));
            count(Math.min(fault.bytes, chunk.length - i));
            await sleep(fault.ms);
          }
          return done();
        }
        count(chunk.length);
        done(null, chunk);
      },
    });
  }
}

function rangeOf(request: IncomingMessage, bytes: number): [number, number] {
  const match = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
  if (!match) return [0, bytes];
  const to = match[2] === '' || match[2] === undefined ? bytes : Number(match[2]) + 1;
  return [Number(match[1]), Math.min(to, bytes)];
}

function error(code: string): Record<string, string> {
  return { 'X-Error-Code': code };
}

function send(response: ServerResponse, status: number, body: unknown, headers: Record<string, string> = {}): void {
  const json = JSON.stringify(body);
  response.writeHead(status, {
    'Content-Type': 'application/json',
    'Content-Length': String(Buffer.byteLength(json)),
    ...headers,
  });
  response.end(json);
}
