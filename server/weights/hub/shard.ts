/** One shard from the hub into the weight file: its tensors are quantized as they arrive, and its sum is checked. */
import { TensorError } from '../errors';
import { writeTensor } from '../make';
import type { OpenModel } from '../model';
import { scalesName } from '../plan';
import type { Quantizer } from '../quantizer';
import type { WeightWriter } from '../writer';
import { HubChangedError, HubChecksumError } from './errors';
import type { Hasher } from './hasher';
import type { DoneTensor, Journal } from './journal';
import type { RemoteFile } from './remote_file';
import { ShardStream, type StreamLimits } from './shard_stream';

/** How often a shard is fetched whose sum is wrong. */
const TRIES = 3;

export interface ShardDeps {
  readonly model: OpenModel;
  readonly writer: WeightWriter;
  readonly quantizer: Quantizer;
  readonly hasher: Hasher;
  readonly journal: Journal;
  readonly limits: StreamLimits;
  /** Shortest time between two notes in the journal, each of which waits for the disk. */
  readonly noteMs: number;
  readonly signal: AbortSignal;
  /** Bytes that need not be fetched any more; fewer than none when a shard is fetched again. */
  readonly onBytes: (bytes: number) => void;
  /** What a person should know: a shard was wrong. */
  readonly onNote: (note: string) => void;
}

/** A tensor of the plan as it lies in a shard. */
export interface ShardTensor {
  readonly index: number;
  readonly offset: number;
  readonly bytes: number;
  /** Bytes of it that are in memory while it is read: all of one whose elements lie scattered. */
  readonly held: number;
}

/**
 * The most memory that tensors need whose places overlap: they are read at the same time, because bytes pass only once.
 *
 * @param tensors in the order of their offsets.
 */
export function heldTogether(tensors: readonly ShardTensor[]): number {
  let [most, sum, end] = [0, 0, 0];
  for (const { offset, bytes, held } of tensors) {
    if (held === 0) continue;
    sum = offset < end ? sum + held : held;
    end = Math.max(end, offset + bytes);
    most = Math.max(most, sum);
  }
  return most;
}

/**
 * Fetches one shard, or what is missing of it.
 *
 * @param tensors of the plan that lie in it.
 * @throws HubChecksumError when its sum stays wrong; TensorError; DiskSpaceError; what the line throws.
 */
export async function pullShard(remote: RemoteFile, tensors: readonly ShardTensor[], deps: ShardDeps): Promise<void> {
  const { file } = remote;
  const { journal, onBytes, onNote } = deps;
  for (let tries = 1; ; tries++) {
    const attempt = new ShardAttempt(remote, tensors, deps);
    const sum = await attempt.run();
    if (file.sha256 === undefined || sum === file.sha256) {
      if (attempt.failure) throw attempt.failure;
      await journal.verified(file.path);
      return;
    }
    await dropShard(file.path, tensors, deps);
    onBytes(-file.bytes);
    if (tries === TRIES) throw new HubChecksumError(file.label);
    onNote(`${file.label} arrived with a wrong checksum and was fetched again.`);
    file.reset();
  }
}

/** Forgets everything that was written of a shard. */
async function dropShard(name: string, tensors: readonly ShardTensor[], deps: ShardDeps): Promise<void> {
  const { journal, writer, model } = deps;
  await journal.dropped(name);
  for (const { index } of tensors) {
    const tensor = model.plan.specs[index]?.name ?? '';
    await writer.drop(tensor);
    await writer.drop(scalesName(tensor));
  }
}

class ShardAttempt {
  readonly #remote: RemoteFile;
  readonly #tensors: readonly ShardTensor[];
  readonly #deps: ShardDeps;
  readonly #done = new Map<number, DoneTensor>();
  /** Up to here it is in the journal. */
  #noted: number;
  readonly #unnoted = new Set<number>();
  readonly #stream: ShardStream;
  #noting: Promise<void> | undefined;
  #waitForNote: (() => void) | undefined;
  /** The tensors that are in memory now, and who waits until one of them leaves. */
  readonly #held = new Set<ShardTensor>();
  #waitForRoom: (() => void) | undefined;
  #ending = false;
  /** A tensor that cannot be quantized: the fault of the line if the sum turns out to be wrong, else of the model. */
  failure: TensorError | undefined;

  constructor(remote: RemoteFile, tensors: readonly ShardTensor[], deps: ShardDeps) {
    this.#remote = remote;
    this.#deps = deps;
    const record = deps.journal.shard(remote.file.path);
    for (const [index, tensor] of record?.done ?? []) this.#done.set(index, tensor);
    this.#tensors = [...tensors].sort((a, b) => a.offset - b.offset);
    this.#noted = record?.at ?? 0;
    this.#stream = new ShardStream({
      file: remote.file,
      hasher: deps.hasher,
      ...(record?.hash ? { state: record.hash } : {}),
      wanted: this.#missing(),
      limits: deps.limits,
      onBytes: deps.onBytes,
      onOrdered: async (bytes, position) => {
        // The list of tensors was read before anything could be checked: it must be part of what is checked now.
        if (!(await remote.agrees(bytes, position))) throw new HubChangedError(remote.file.label);
      },
    });
  }

  /** Resolves with the shard's sum when all of it has passed. */
  async run(): Promise<string> {
    this.#remote.stream = this.#stream;
    const sum = this.#stream.run();
    sum.catch(() => {}); // Awaited below, after the tensors.
    const tasks: Promise<void>[] = [];
    try {
      for (const tensor of this.#missing()) {
        if (this.failure) break;
        await this.#stream.reached(tensor.offset);
        while (!this.#hasRoom(tensor)) {
          await new Promise<void>((resolve) => {
            this.#waitForRoom = resolve;
          });
        }
        if (tensor.held > 0) this.#held.add(tensor);
        const task = this.#write(tensor).catch((error: unknown) => this.#failed(error));
        tasks.push(
          task.finally(() => {
            this.#held.delete(tensor);
            this.#waitForRoom?.();
          }),
        );
      }
      await Promise.all(tasks);
      const digest = await sum;
      this.#ending = true;
      this.#waitForNote?.();
      await this.#noting;
      await this.#note();
      return digest;
    } catch (error) {
      this.#stream.stop(error);
      this.#ending = true;
      this.#waitForNote?.();
      await Promise.allSettled([...tasks, sum, this.#noting]);
      throw error;
    } finally {
      this.#remote.stream = undefined;
    }
  }

  #missing(): ShardTensor[] {
    return this.#tensors.filter(({ index }) => !this.#done.has(index));
  }

  /** Tensors that lie in the same bytes cannot wait for each other. */
  #hasRoom({ offset, held }: ShardTensor): boolean {
    let sum = held;
    for (const other of this.#held) {
      if (offset < other.offset + other.bytes) return true;
      sum += other.held;
    }
    return held === 0 || sum === held || sum <= this.#deps.limits.heldBytes;
  }

  #failed(error: unknown): void {
    // Others that were reading cannot go on once the stream drains; that is no fault of theirs.
    if (this.failure) return;
    if (error instanceof TensorError && this.#remote.file.sha256 !== undefined) {
      this.failure = error;
      this.#stream.drain();
    } else {
      this.#stream.stop(error);
    }
  }

  async #write({ index, bytes }: ShardTensor): Promise<void> {
    const { model, writer, quantizer, signal } = this.#deps;
    if (this.failure) return;
    const entry = bytes === 0 ? undefined : await writeTensor(model, index, writer, quantizer, signal, () => {});
    this.#done.set(index, entry ? [index, entry[1], entry[2]] : [index]);
    this.#unnoted.add(index);
    this.#noting ??= this.#noteSoon();
  }

  /** Writes notes while there is something to note, with a pause after each. */
  async #noteSoon(): Promise<void> {
    try {
      while (this.#unnoted.size > 0 && !this.#ending) {
        await this.#note();
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, this.#deps.noteMs);
          this.#waitForNote = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    } catch (error) {
      this.#stream.stop(error);
    } finally {
      this.#noting = undefined;
    }
  }

  /** Notes how far the file is done without a gap: nothing before that place will be asked for again. */
  async #note(): Promise<void> {
    const { journal, writer } = this.#deps;
    const open = this.#tensors.find(({ index }) => !this.#done.has(index))?.offset ?? Number.POSITIVE_INFINITY;
    let at = this.#noted;
    for (const { index, offset, bytes } of this.#tensors) {
      const end = offset + bytes;
      if (end > at && end <= open && this.#done.has(index) && this.#stream.stateAt(end) !== undefined) at = end;
    }
    const state = this.#stream.stateAt(at);
    if (at === this.#noted || state === undefined) return;
    const starting = this.#tensors.filter(({ index, offset }) => offset < at && this.#unnoted.has(index));
    await writer.sync();
    await journal.reached(
      this.#remote.file.path,
      at,
      state,
      starting.map(({ index }) => this.#done.get(index) ?? [index]),
    );
    for (const { index } of starting) this.#unnoted.delete(index);
    this.#noted = at;
  }
}
