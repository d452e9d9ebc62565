/** Finds the entries of a zip file whose entries are stored without compression, as torch.save writes them. */
import { show } from './small';
import { type FileProblem, type OpenFile, readFully } from './tensorfile';

/** Where an entry's bytes are in the file. */
export interface ZipEntry {
  readonly offset: number;
  readonly bytes: number;
  /** Of its bytes; undefined where the writer of the file left it out. */
  readonly crc32: number | undefined;
}

/** The end record and the longest comment that may follow it. */
const TAIL_BYTES = 22 + 0xffff;

/** An entry takes some 80 bytes of the directory: room for 100,000 of them and more. */
const MAX_DIRECTORY_BYTES = 16 * 1024 * 1024;

const END = 0x06054b50;
const END64 = 0x06064b50;
const END64_LOCATOR = 0x07064b50;
const DIRECTORY_ENTRY = 0x02014b50;
const LOCAL_ENTRY = 0x04034b50;
/** Local headers that are looked at together: behind a line, each of them takes as long as a small file. */
const HEADERS_AT_ONCE = 16;
/** A flag of an entry: its sums and sizes stand behind its bytes, too. */
const HAS_DESCRIPTOR = 8;
/** How long they are, with sizes of 32 or of 64 bits. */
const DESCRIPTOR_BYTES = [16, 24];
/** What is read of an entry's own header behind its name: more than torch.save needs to align the bytes that follow. */
const EXTRA_READ = 128;
/** A 32-bit field of this value is in the zip64 extra field instead. */
const IN_ZIP64 = 0xffffffff;

/**
 * Reads the directory at the end of a zip file, and from every entry's own header where its bytes begin.
 *
 * @throws what `problem` makes of a file that is cut short, damaged, or compressed.
 */
export async function readZip(file: OpenFile, problem: FileProblem): Promise<Map<string, ZipEntry>> {
  const fail = (text: string) => problem(file.path, text);
  const { offset, bytes } = await findDirectory(file, problem);
  const directory = await bytesAt(file, offset, bytes, problem);
  const found: Listed[] = [];
  for (let at = 0; at < directory.length; ) {
    if (at + 46 > directory.length || directory.readUInt32LE(at) !== DIRECTORY_ENTRY) {
      throw fail('the directory at its end is damaged.');
    }
    const nameLength = directory.readUInt16LE(at + 28);
    const extraLength = directory.readUInt16LE(at + 30);
    const next = at + 46 + nameLength + extraLength + directory.readUInt16LE(at + 32);
    if (next > directory.length) throw fail('the directory at its end is damaged.');
    const name = directory.toString('utf8', at + 46, at + 46 + nameLength);
    const extra = directory.subarray(at + 46 + nameLength, at + 46 + nameLength + extraLength);
    const [size, packed, local] = sizes(directory, at, extra, fail);
    if (directory.readUInt16LE(at + 10) !== 0 || size !== packed)
      throw fail('it is compressed, which weights never are.');
    // Nobody's weights have the sum 0: it stands for none.
    const crc32 = directory.readUInt32LE(at + 16) || undefined;
    found.push({ name, local, size, crc32, flags: directory.readUInt16LE(at + 8) });
    at = next;
  }
  const entries = new Map<string, ZipEntry>();
  for (let i = 0; i < found.length; i += HEADERS_AT_ONCE) {
    const some = found.slice(i, i + HEADERS_AT_ONCE);
    const places = await Promise.all(some.map((listed) => locate(file, listed, problem)));
    for (const [j, place] of places.entries()) entries.set(some[j]?.name ?? '', place);
  }
  if (entries.size !== found.length) throw fail('the directory at its end names an entry twice.');
  checkOrder(found, entries, offset, (name) => damaged(file, name, problem));
  return entries;
}

/** An entry as the directory has it. */
interface Listed {
  readonly name: string;
  /** Where its own header is. */
  readonly local: number;
  readonly size: number;
  readonly crc32: number | undefined;
  readonly flags: number;
}

/**
 * Entries lie one after another, from the start of the file to its directory. Where they do not, a length or an offset is
 * damaged, and the bytes that would be taken for an entry's are others.
 */
function checkOrder(
  found: readonly Listed[],
  entries: ReadonlyMap<string, ZipEntry>,
  directory: number,
  fail: (name: string) => Error,
): void {
  const ordered = [...found].sort((a, b) => a.local - b.local);
  let at = 0;
  for (const [i, { name, local, flags }] of ordered.entries()) {
    if (local !== at) throw fail(name);
    const { offset, bytes } = entries.get(name) ?? { offset: 0, bytes: 0 };
    at = ordered[i + 1]?.local ?? directory;
    const behind = at - (offset + bytes);
    if (!((flags & HAS_DESCRIPTOR) === 0 ? behind === 0 : DESCRIPTOR_BYTES.includes(behind))) throw fail(name);
  }
}

async function findDirectory(file: OpenFile, problem: FileProblem): Promise<Omit<ZipEntry, 'crc32'>> {
  const { path, fileBytes } = file;
  const fail = () => problem(path, 'it has no directory at its end: the file is cut short, or no PyTorch file.');
  const tailBytes = Math.min(fileBytes, TAIL_BYTES);
  const tail = await bytesAt(file, fileBytes - tailBytes, tailBytes, problem);
  let end = tail.length - 22;
  while (end >= 0 && tail.readUInt32LE(end) !== END) end--;
  if (end < 0) throw fail();
  let bytes = tail.readUInt32LE(end + 12);
  let offset = tail.readUInt32LE(end + 16);
  if (end >= 20 && tail.readUInt32LE(end - 20) === END64_LOCATOR) {
    const at = count64(tail, end - 20 + 8);
    if (at + 56 > fileBytes) throw fail();
    const record = await bytesAt(file, at, 56, problem);
    if (record.readUInt32LE(0) !== END64) throw fail();
    bytes = count64(record, 40);
    offset = count64(record, 48);
  }
  if (bytes > MAX_DIRECTORY_BYTES || offset + bytes > fileBytes) throw fail();
  return { offset, bytes };
}

/** Size, packed size and place of the local header; those that do not fit 32 bits are in the zip64 extra field. */
function sizes(directory: Buffer, at: number, extra: Buffer, fail: (text: string) => Error): [number, number, number] {
  const values = [directory.readUInt32LE(at + 24), directory.readUInt32LE(at + 20), directory.readUInt32LE(at + 42)];
  for (let e = 0; e + 4 <= extra.length; e += 4 + extra.readUInt16LE(e + 2)) {
    if (extra.readUInt16LE(e) !== 1) continue;
    let field = e + 4;
    for (const [i, value] of values.entries()) {
      if (value !== IN_ZIP64) continue;
      if (field + 8 > extra.length) throw fail('the directory at its end is damaged.');
      values[i] = count64(extra, field);
      field += 8;
    }
  }
  return values as [number, number, number];
}

/**
 * Where an entry's bytes are, by its own header. It must be of the same name, and its extra fields as long as they say: a
 * length that is off by a few bytes would give other numbers for every weight.
 */
async function locate(file: OpenFile, listed: Listed, problem: FileProblem): Promise<ZipEntry> {
  const { name, local, size, crc32, flags } = listed;
  const expected = Buffer.from(name);
  const start = local + 30 + expected.length;
  if (start > file.fileBytes) throw damaged(file, name, problem);
  const length = Math.min(30 + expected.length + EXTRA_READ, file.fileBytes - local);
  const header = await bytesAt(file, local, length, problem);
  const same =
    header.readUInt32LE(0) === LOCAL_ENTRY &&
    header.readUInt16LE(6) === flags &&
    header.readUInt16LE(26) === expected.length &&
    header.subarray(30, 30 + expected.length).equals(expected);
  const extraBytes = header.readUInt16LE(28);
  const offset = start + extraBytes;
  if (!same || offset + size > file.fileBytes) throw damaged(file, name, problem);
  const read = header.subarray(30 + expected.length);
  const extra =
    extraBytes <= read.length ? read.subarray(0, extraBytes) : await bytesAt(file, start, extraBytes, problem);
  if (!isWhole(extra)) throw damaged(file, name, problem);
  return { offset, bytes: size, crc32 };
}

/** Whether extra fields, each with its length, end where they must. */
function isWhole(extra: Buffer): boolean {
  let at = 0;
  while (at + 4 <= extra.length) at += 4 + extra.readUInt16LE(at + 2);
  return at === extra.length;
}

function damaged(file: OpenFile, name: string, problem: FileProblem): Error {
  return problem(file.path, `its entry ${show(name)} is damaged.`);
}

/** A 64-bit count; what no file can have becomes a number that fails every comparison with a file's size. */
function count64(buffer: Buffer, at: number): number {
  return Number(buffer.readBigUInt64LE(at));
}

async function bytesAt(file: OpenFile, offset: number, length: number, problem: FileProblem): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  await readFully(file.handle, buffer, offset, file.path, problem);
  return buffer;
}
