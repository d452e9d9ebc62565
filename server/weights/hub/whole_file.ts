/** Fetches a file of the hub onto the disk as it is: where the original is kept, or the server sends only whole files. */
import { type FileHandle, open, rename, rm, stat } from 'node:fs/promises';
import { diskErrors } from '../writer';
import { HubChecksumError } from './errors';
import type { Hasher } from './hasher';
import type { HubFile } from './hub_file';
import { Sha256 } from './sha256';
import { ShardStream, type StreamLimits } from './shard_stream';

const TRIES = 3;
const READ_BYTES = 4 * 1024 * 1024;

export interface WholeDeps {
  readonly hasher: Hasher;
  readonly limits: StreamLimits;
  /** False: the server sends only whole files, from the start. */
  readonly ranges: boolean;
  readonly onBytes: (bytes: number) => void;
  readonly onNote: (note: string) => void;
}

/**
 * Fetches `file` to `path`, going on with `path.part` where that is there. The file has its name only when its sum is right.
 *
 * @throws HubChecksumError, DiskSpaceError, what the line throws.
 */
export async function fetchWhole(file: HubFile, path: string, deps: WholeDeps): Promise<void> {
  const { onBytes, onNote } = deps;
  if ((await sizeOf(path)) === file.bytes) return onBytes(file.bytes);
  const part = `${path}.part`;
  for (let tries = 1; ; tries++) {
    const sum = await fetchPart(file, part, deps);
    if (file.sha256 === undefined || sum === file.sha256) break;
    await rm(part, { force: true });
    onBytes(-file.bytes);
    if (tries === TRIES) throw new HubChecksumError(file.label);
    onNote(`${file.label} arrived with a wrong checksum and was fetched again.`);
    file.reset();
  }
  await diskErrors(path, () => rename(part, path));
}

async function sizeOf(path: string): Promise<number | undefined> {
  return stat(path).then(
    ({ size }) => size,
    () => undefined,
  );
}

async function fetchPart(file: HubFile, part: string, deps: WholeDeps): Promise<string> {
  const there = await sizeOf(part);
  if (there !== undefined && (there > file.bytes || !deps.ranges)) await rm(part);
  const handle = await diskErrors(part, () => open(part, 'a+'));
  try {
    const sum = deps.ranges ? await append(file, handle, part, deps) : await fromStart(file, handle, part, deps);
    await diskErrors(part, () => handle.sync());
    return sum;
  } finally {
    await handle.close();
  }
}

async function append(file: HubFile, handle: FileHandle, part: string, deps: WholeDeps): Promise<string> {
  const hash = new Sha256();
  // What is there was not checked yet: its sum comes first.
  const buffer = new Uint8Array(READ_BYTES);
  for (;;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, hash.bytes);
    if (bytesRead === 0) break;
    hash.update(buffer.subarray(0, bytesRead));
    deps.onBytes(bytesRead);
  }
  const stream = new ShardStream({
    file,
    hasher: deps.hasher,
    state: hash.save(),
    wanted: [],
    limits: deps.limits,
    onBytes: deps.onBytes,
    onOrdered: (bytes) => diskErrors(part, () => handle.appendFile(bytes)),
  });
  return stream.run();
}

async function fromStart(file: HubFile, handle: FileHandle, part: string, deps: WholeDeps): Promise<string> {
  let hash = new Sha256();
  await file.whole(
    async () => {
      deps.onBytes(-hash.bytes);
      hash = new Sha256();
      await handle.truncate(0);
    },
    async (chunk) => {
      await diskErrors(part, () => handle.appendFile(chunk));
      hash.update(chunk);
      deps.onBytes(chunk.length);
    },
  );
  return hash.digest();
}
