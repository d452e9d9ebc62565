/** The files of a repository as the hub knows them: sizes, sums, and what its answers say of them. */
import { createHash } from 'node:crypto';
import { closeSync, openSync, readFileSync, readSync, statSync } from 'node:fs';

export type Content = Uint8Array | { readonly file: string } | MadeContent;

/** A file that is made while it is read. */
export interface MadeContent {
  readonly bytes: number;
  readonly sha256: string;
  read(from: number, to: number): Iterable<Uint8Array>;
}

export interface HubFile {
  readonly content: Content;
  readonly bytes: number;
  readonly sha256: string;
  readonly etag: string;
  /** Large files are kept apart and have a SHA-256 in the listing; small ones have only git's own sum. */
  readonly lfs: boolean;
}

export interface Repository {
  commit: string;
  readonly files: Map<string, HubFile>;
  readonly revisions: Set<string>;
  readonly token: string | undefined;
  readonly gated: boolean;
  readonly license: string | undefined;
}

export function about(name: string, { commit, gated, license, token }: Repository): unknown {
  return {
    _id: createHash('sha1').update(name).digest('hex').slice(0, 24),
    id: name,
    sha: commit,
    private: token !== undefined && !gated,
    gated: gated ? 'manual' : false,
    likes: 0,
    downloads: 0,
    lastModified: '2023-03-03T00:00:00.000Z',
    tags: license === undefined ? [] : [`license:${license}`],
    ...(license === undefined ? {} : { cardData: { license } }),
  };
}

export function entryOf(path: string, file: HubFile): unknown {
  const pointer = Buffer.from(
    `version https://git-lfs.github.com/spec/v1\noid sha256:${file.sha256}\nsize ${file.bytes}\n`,
  );
  const content = file.content;
  const whole = () => {
    if (content instanceof Uint8Array) return content;
    return 'file' in content ? readFileSync(content.file) : Buffer.concat([...content.read(0, content.bytes)]);
  };
  const oid = gitSum(file.lfs ? pointer : whole());
  const lfs = { oid: file.sha256, size: file.bytes, pointerSize: pointer.length };
  return { type: 'file', path, oid, size: file.bytes, ...(file.lfs ? { lfs } : {}) };
}

export function hubFile(path: string, content: Content): HubFile {
  const lfs = /\.(safetensors|bin|model|msgpack|h5|gguf)$/.test(path);
  const bytes =
    content instanceof Uint8Array ? content.length : 'file' in content ? statSync(content.file).size : content.bytes;
  const sha256 = sum(content);
  return { content, bytes, sha256, etag: `"${sha256.slice(0, 32)}"`, lfs };
}

function sum(content: Content): string {
  if ('sha256' in content) return content.sha256;
  const hash = createHash('sha256');
  if (content instanceof Uint8Array) return hash.update(content).digest('hex');
  const handle = openSync(content.file, 'r');
  const buffer = Buffer.alloc(4 * 1024 * 1024);
  for (let read = readSync(handle, buffer); read > 0; read = readSync(handle, buffer)) {
    hash.update(buffer.subarray(0, read));
  }
  closeSync(handle);
  return hash.digest('hex');
}

function gitSum(content: Uint8Array): string {
  return createHash('sha1').update(`blob ${content.length}\0`).update(content).digest('hex');
}

export function commitOf(files: ReadonlyMap<string, HubFile>): string {
  const hash = createHash('sha1');
  for (const [path, { sha256 }] of files) hash.update(`${path} ${sha256}\n`);
  return hash.digest('hex');
}

export function* portions(content: Uint8Array): Generator<Uint8Array> {
  for (let i = 0; i < content.length; i += 64 * 1024) yield content.subarray(i, i + 64 * 1024);
}
