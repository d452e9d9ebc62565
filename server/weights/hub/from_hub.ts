/** A model from the hub: what both ways of getting it have in common, and which of them is taken. */
import { createHash } from 'node:crypto';
import { readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { FlanError } from '../../errors';
import { say, verbatim, withNames } from '../../saying';
import { INT8_FILE } from '../checkpoint';
import { modelTypeOf, rawConfig } from '../config';
import { COMPANIONS, tokenizerNotes } from '../convert';
import { DiskSpaceError, NotAModelError, SafetensorsError, TorchFileError } from '../errors';
import { inspectWeightFile } from '../file';
import { DISK_MARGIN_BYTES, freeBytesOf, THREADS_FROM_BYTES } from '../make';
import { humanBytes } from '../small';
import { diskErrors } from '../writer';
import type { Repository } from './address';
import { OverlapError, pullAsItArrives } from './arriving';
import { HubChangedError, HubUnknownError, NoRangesError } from './errors';
import { Hasher } from './hasher';
import type { ListedFile } from './hub_file';
import { Journal } from './journal';
import type { Line } from './line';
import { Meter } from './meter';
import { type OriginFile, writeOrigin } from './origin';
import { describe, type Pulled, type PullOptions, type PullProgress } from './progress';
import { type Listing, listRepository, noWeightsIn, RemoteFiles, weightsOf } from './repository';
import { STREAM_LIMITS, type StreamLimits } from './shard_stream';
import { pullWholeFiles } from './whole_files';
import { installedAs, type Workspace } from './workspace';

/** How often all of it is begun anew when files turn out to be others than they seemed. */
const TRIES = 3;
const REPORT_MS = 250;

export async function pullFromHub(
  options: PullOptions,
  space: Workspace,
  line: Line,
  asked: Repository,
): Promise<Pulled> {
  const keep = options.keepOriginal === true;
  const notes: string[] = [];
  let ranges = true;
  let whole = keep;
  for (let tries = 1; ; tries++) {
    const pull = new HubPull(options, space, line, await listRepository(line, asked));
    try {
      const installed = keep ? undefined : await installedAs(space, pull.listing);
      if (installed) return installed;
      await space.checkTarget(asked);
      const raw = await pull.config();
      const pulled = await (whole ? pullWholeFiles(pull, raw, { keep, ranges }) : pullAsItArrives(pull, raw));
      return { ...pulled, notes: [...notes, ...pulled.notes] };
    } catch (error) {
      if (error instanceof NoRangesError && ranges) {
        ranges = false;
        whole = true;
      } else if (error instanceof OverlapError) whole = true;
      // A byte that was turned on the way makes a header wrong as well: a second look tells.
      else if (tries >= TRIES || !isWorthAnotherLook(error)) throw pull.explained(error);
      else notes.push(`Begun again: ${error.message}`);
    } finally {
      pull.quiet();
    }
  }
}

function isWorthAnotherLook(error: unknown): error is FlanError {
  return error instanceof HubChangedError || error instanceof SafetensorsError || error instanceof TorchFileError;
}

export class HubPull {
  readonly options: PullOptions;
  readonly space: Workspace;
  readonly listing: Listing;
  readonly files: RemoteFiles;
  readonly limits: StreamLimits;
  readonly notes: string[] = [];
  #meter = new Meter(0, 0);
  #reportedAt = Number.NEGATIVE_INFINITY;
  #report: NodeJS.Timeout | undefined;
  /** Of the companions, as they were fetched. */
  readonly #sums: OriginFile[] = [];
  readonly #hub: string;

  constructor(options: PullOptions, space: Workspace, line: Line, listing: Listing) {
    this.options = options;
    this.space = space;
    this.listing = listing;
    this.files = new RemoteFiles(line, listing);
    this.limits = { ...STREAM_LIMITS, ...options.streamLimits };
    this.#hub = new URL(line.hub).host;
  }

  /** The configuration of the model. Throws for a repository that holds none that can be run. */
  async config(): Promise<ReturnType<typeof rawConfig>> {
    const { repository, files } = this.listing;
    if (!files.has('config.json')) throw new NotAModelError(say('{0} has no config.json: it is no model.', repository));
    let json: unknown;
    try {
      json = JSON.parse(await this.files.text('config.json'));
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
      throw new NotAModelError(say('The config.json of {0} is not valid JSON: it is no model.', repository));
    }
    const raw = rawConfig(json);
    modelTypeOf(raw);
    if (weightsOf(this.listing) === undefined) {
      throw new NotAModelError(noWeightsIn(repository));
    }
    return raw;
  }

  /** For files of so many bytes in all; the caller closes it. A small model is fetched before a thread has started. */
  hasher(bytes: number): Hasher {
    const { hasherFile, threadsFromBytes = THREADS_FROM_BYTES } = this.options;
    return new Hasher(bytes < threadsFromBytes ? undefined : hasherFile);
  }

  listed(path: string): ListedFile {
    const file = this.listing.files.get(path);
    if (!file)
      throw new HubUnknownError(say('{0} has no {1}: it is incomplete, or no model.', this.listing.repository, path));
    return file;
  }

  /** Configuration, tokenizer, licence: what goes beside the weights. */
  get companions(): ListedFile[] {
    return COMPANIONS.flatMap((name) => this.listing.files.get(name) ?? []);
  }

  /** Goes on with the journal of the same pull, or begins a new one with an empty folder. */
  async journal(key: string, totalBytes: number): Promise<{ readonly journal: Journal; readonly resumed: boolean }> {
    const { journal: path } = this.space;
    const before = await Journal.resume(path, key);
    if (!before) await this.space.discard();
    await this.space.create();
    const { repository: model, revision } = this.listing;
    const journal = before ?? (await Journal.create(path, { key, model, revision, totalBytes }));
    return { journal, resumed: before !== undefined };
  }

  /** @param bytes that will be on the disk in all. @throws DiskSpaceError before anything large is fetched. */
  async checkSpace(bytes: number): Promise<void> {
    const { dir, target } = this.space;
    const needed = Math.max(0, bytes - (await this.space.allocated())) + DISK_MARGIN_BYTES;
    const free = await (this.options.freeBytes ?? freeBytesOf)(dir);
    if (free >= needed) return;
    const [need, there] = [humanBytes(needed), humanBytes(free)];
    throw new DiskSpaceError(
      say(
        'The model does not fit: {0} are needed for {1}, but only {2} are free. Free some space, or use another disk.',
        ...[need, target, there],
      ),
    );
  }

  /** Fetches the small files that are not there yet, and compares them with their sums. */
  async fetchCompanions(): Promise<void> {
    for (const { path } of this.companions) {
      const target = join(this.space.folder, path);
      const there = await readFile(target).catch(() => undefined);
      const right = there && this.files.isRight(path, there) ? there : undefined;
      if (right) this.arrived(right.length);
      const bytes = right ?? (await this.files.bytes(path, (count) => this.arrived(count)));
      if (!right) {
        await diskErrors(target, () => writeFile(`${target}.part`, bytes));
        await rename(`${target}.part`, target);
      }
      this.#sums.push({ path, bytes: bytes.length, sha256: createHash('sha256').update(bytes).digest('hex') });
    }
    this.notes.push(...tokenizerNotes(this.listing.repository, (name) => this.listing.files.has(name)));
  }

  /** From now on progress counts against `totalBytes`, of which `bytes` are there already. */
  measure(totalBytes: number, bytes: number): void {
    this.#meter = new Meter(totalBytes, bytes);
  }

  arrived(bytes: number): void {
    this.#meter.add(bytes);
    const wait = this.#reportedAt + REPORT_MS - performance.now();
    if (wait <= 0) this.#tell();
    // The last of many is told as well: the line may be silent after it.
    else this.#report ??= setTimeout(() => this.#tell(), wait);
  }

  /** Tells no more of what has arrived. */
  quiet(): void {
    clearTimeout(this.#report);
    this.#report = undefined;
  }

  #tell(): void {
    this.quiet();
    this.#reportedAt = performance.now();
    const reading = this.#meter.read();
    const message = `Downloading ${this.listing.repository}: ${describe(reading)}`;
    this.options.onProgress({ state: 'downloading', message, ...reading });
  }

  /** Progress of what is no download, as a part of 1. */
  working(state: PullProgress['state'], message: string, fraction: number, totalBytes: number): void {
    this.quiet();
    const bytes = Math.round(fraction * totalBytes);
    this.options.onProgress({ state, message, bytes, totalBytes, bytesPerSecond: 0 });
  }

  /** Completes the folder and gives it its place. `kept`: the original weights that stay in it. */
  async install(weights: readonly ListedFile[], kept: readonly ListedFile[]): Promise<Pulled> {
    const { repository, revision, commit } = this.listing;
    const { name, target, folder, weights: file } = this.space;
    const { fileBytes } = await inspectWeightFile(file);
    await writeOrigin(folder, {
      ...{ repository, revision, commit, hub: this.#hub, pulled: new Date().toISOString() },
      weights: weights.map(originFile),
      files: [...this.#sums, ...kept.map(originFile)],
    });
    await this.space.install(repository);
    return { name, dir: target, bytes: fileBytes, made: true, notes: [...new Set(this.notes)] };
  }

  /** Names the model's place instead of where it is made, and says that a full disk loses nothing. */
  explained(error: unknown): unknown {
    if (!(error instanceof DiskSpaceError)) return error;
    const { folder, target, partial } = this.space;
    const named = withNames(error.saying ?? verbatim(error.message), (name) =>
      name.replaceAll(partial, join(target, INT8_FILE)).replaceAll(folder, target),
    );
    const kept = say('{0} What was fetched is kept, and a further try goes on from there.', named);
    return new DiskSpaceError(kept, { cause: error });
  }
}

function originFile({ path, bytes, sha256 }: ListedFile): OriginFile {
  return { path, bytes, ...(sha256 === undefined ? {} : { sha256 }) };
}

export function sizeOf(files: readonly ListedFile[]): number {
  return files.reduce((sum, { bytes }) => sum + bytes, 0);
}
