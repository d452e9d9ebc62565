/** What a repository of the hub holds, and its files as a checkpoint reads them. */
import { createHash } from 'node:crypto';
import { listFiles, modelInfo } from '@huggingface/hub';
import { type Saying, say } from '../../saying';
import { type CheckpointFiles, LAYOUTS, shardsOfIndex } from '../checkpoint';
import { show } from '../small';
import type { OpenFile } from '../tensorfile';
import type { Repository } from './address';
import { HubChecksumError, HubUnknownError } from './errors';
import { HubFile, type ListedFile, refusal } from './hub_file';
import { type Line, RetryableError } from './line';
import { RemoteFile } from './remote_file';

/** A list of files of this length is no model's. */
const MAX_FILES = 10_000;

/** Configurations, tokenizers, indexes: the largest tokenizer.json in use has some 35 MB. */
const MAX_SMALL_BYTES = 256 * 1024 * 1024;

export interface Listing extends Repository {
  readonly commit: string;
  readonly gated: boolean;
  readonly license: string | undefined;
  /** By path, those of the first folder only. */
  readonly files: ReadonlyMap<string, ListedFile>;
}

/** @throws HubTokenError, HubUnknownError, HubOfflineError, HubLineError, CancelledError. */
export async function listRepository(line: Line, asked: Repository): Promise<Listing> {
  const { repository, revision } = asked;
  const fetch = fetchOver(line, asked);
  const common = { hubUrl: line.hub, fetch };
  const info = await modelInfo({
    ...common,
    name: repository,
    revision,
    additionalFields: ['sha', 'cardData', 'tags'],
  });
  const commit = typeof info.sha === 'string' && /^[0-9a-f]{7,64}$/.test(info.sha) ? info.sha : revision;
  const files = new Map<string, ListedFile>();
  for await (const entry of listFiles({ ...common, repo: { type: 'model', name: repository }, revision: commit })) {
    if (entry.type !== 'file' || entry.path.includes('/')) continue;
    if (!Number.isSafeInteger(entry.size) || files.size >= MAX_FILES) break;
    const sums = entry.lfs ? { sha256: entry.lfs.oid } : entry.oid ? { gitSum: entry.oid } : {};
    files.set(entry.path, { path: entry.path, bytes: entry.lfs?.size ?? entry.size, ...sums });
  }
  return { repository, revision, commit, gated: info.gated !== false, license: licenseOf(info), files };
}

function licenseOf(info: { readonly cardData?: unknown; readonly tags?: unknown }): string | undefined {
  const card = info.cardData;
  const said = typeof card === 'object' && card !== null && 'license' in card ? card.license : undefined;
  if (typeof said === 'string') return said;
  const tags = Array.isArray(info.tags) ? info.tags : [];
  const tag = tags.find((value): value is string => typeof value === 'string' && value.startsWith('license:'));
  return tag?.slice('license:'.length);
}

/** `fetch` as the library asks for it, over our line: with its retries, and our errors instead of the library's. */
function fetchOver(line: Line, { repository, revision }: Repository): typeof fetch {
  return async (input) => {
    const url = input instanceof Request ? input.url : String(input);
    return line.retry(say('The list of {0}', repository), async () => {
      const answer = await line.get(url, { accept: 'application/json' });
      if (answer.status !== 200) {
        answer.body.destroy();
        throw refusal(answer, line, repository, `${repository}@${revision}`);
      }
      const link = answer.header('link');
      const text = await answer.body.text();
      try {
        JSON.parse(text);
      } catch {
        throw new RetryableError(say('what answers is no hub'));
      }
      return new Response(text, link === undefined ? {} : { headers: { link } });
    });
  };
}

/** The files of a listing, for `Checkpoint.read`. */
export class RemoteFiles implements CheckpointFiles {
  readonly name: string;
  readonly opened = new Map<string, RemoteFile>();
  readonly #line: Line;
  readonly #listing: Listing;

  constructor(line: Line, listing: Listing) {
    this.#line = line;
    this.#listing = listing;
    this.name = listing.repository;
  }

  file(path: string): HubFile {
    const { repository, commit, files } = this.#listing;
    const listed = files.get(path);
    if (!listed)
      throw new HubUnknownError(say('{0} has no {1}: it is incomplete, or no model.', repository, show(path)));
    return new HubFile(this.#line, repository, commit, listed);
  }

  async has(path: string): Promise<boolean> {
    return this.#listing.files.has(path);
  }

  async text(path: string): Promise<string> {
    return (await this.bytes(path)).toString('utf8');
  }

  /** The whole of a small file, compared with its sum. */
  async bytes(path: string, onBytes?: (bytes: number) => void): Promise<Buffer> {
    const file = this.file(path);
    if (file.bytes > MAX_SMALL_BYTES)
      throw new HubUnknownError(say('{0} is too large for what it should be.', file.label));
    for (let tries = 0; ; tries++) {
      const bytes = Buffer.alloc(file.bytes);
      await file.range(bytes, 0, onBytes);
      if (this.isRight(path, bytes)) return bytes;
      if (tries === 2) throw new HubChecksumError(file.label);
      onBytes?.(-bytes.length);
      file.reset();
    }
  }

  /** Whether this is the content that the hub lists, by its sum. */
  isRight(path: string, bytes: Buffer): boolean {
    const listed = this.#listing.files.get(path);
    return listed?.bytes === bytes.length && sumsAgree(bytes, listed);
  }

  async open(path: string): Promise<OpenFile> {
    const file = this.file(path);
    const remote = new RemoteFile(file);
    this.opened.set(path, remote);
    const summed = file.sha256 !== undefined;
    return { path: file.label, handle: remote, fileBytes: file.bytes, mtimeMs: 0, summed, once: true };
  }
}

function sumsAgree(bytes: Buffer, listed: ListedFile): boolean {
  if (listed.sha256 !== undefined) return createHash('sha256').update(bytes).digest('hex') === listed.sha256;
  if (listed.gitSum === undefined) return true;
  return createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex') === listed.gitSum;
}

/** The weights of a listing in the best form there is, by the file that is looked for first. */
export function weightsOf(listing: Listing): 'safetensors' | 'pytorch' | undefined {
  const layout = LAYOUTS.find(({ name }) => listing.files.has(name));
  if (!layout) return undefined;
  return layout.name.includes('safetensors') ? 'safetensors' : 'pytorch';
}

/** For a repository that `weightsOf` knows none of. */
export function noWeightsIn(repository: string): Saying {
  return say(
    '{0} has no weights that can be read: neither safetensors nor PyTorch files of the usual names. Choose another model or another revision of it.',
    repository,
  );
}

/** The files of the checkpoint, an index first. */
export async function weightNames(listing: Listing, files: RemoteFiles): Promise<string[]> {
  const layout = LAYOUTS.find(({ name }) => listing.files.has(name));
  if (!layout) return [];
  return layout.sharded ? [layout.name, ...(await shardsOfIndex(layout.name, files))] : [layout.name];
}
