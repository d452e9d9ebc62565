/** A home with the files that the command line's tests read, and prompts that do not end by themselves. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Home } from './harness';

export const CODE = 'def add(a, b):\n    """Adds."""\n    return a + b\n';
export const LINES = Array.from({ length: 30 }, (_, i) => `Line ${i + 1} tells about the number ${i + 1}.`).join('\n');
/** Sampling at this temperature hardly ever ends by itself. */
export const ENDLESS = [
  'generate',
  '--prompt',
  'Write.',
  '--max-new-tokens',
  '4096',
  '--temperature',
  '50',
  '--seed',
  '7',
];
export const CHECKPOINT = join(import.meta.dirname, '..', 'fixtures', 'checkpoints', 'gelu-untied');

export const json = <T>(text: string): T => JSON.parse(text) as T;

export function homeWithFiles(): Home {
  const home = Home.create();
  const file = (name: string, content: string | Buffer) => writeFileSync(join(home.paths.home, name), content);
  file('add.py', CODE);
  file('lines.txt', LINES);
  file('empty.txt', '');
  file('blank.txt', ' \n\n\t\n');
  file('binary.bin', Buffer.from([1, 2, 0, 3, 4]));
  file('latin.txt', Buffer.from([0x63, 0x61, 0x66, 0xe9, 0x0a]));
  file('utf16.txt', Buffer.from('\ufeffUne note assez courte.', 'utf16le'));
  file('large.txt', 'All work and no play.\n'.repeat(100_000));
  file('odd:1-2', 'A file with an odd name.');
  mkdirSync(join(home.paths.home, 'folder'));
  return home;
}

/** Copies a small checkpoint with a larger vocabulary, all of it zeros. */
export function enlarge(from: string, to: string, vocabSize: number): void {
  mkdirSync(to);
  const config = json<Record<string, unknown>>(readFileSync(join(from, 'config.json'), 'utf8'));
  writeFileSync(join(to, 'config.json'), JSON.stringify({ ...config, vocab_size: vocabSize }));
  const bytes = readFileSync(join(from, 'model.safetensors'));
  const start = 8 + Number(bytes.readBigUInt64LE(0));
  const header = json<Record<string, { shape: number[]; data_offsets: number[] }>>(bytes.toString('utf8', 8, start));
  const pieces: Buffer[] = [];
  let offset = 0;
  for (const [name, tensor] of Object.entries(header)) {
    if (name === '__metadata__') continue;
    const [begin = 0, end = 0] = tensor.data_offsets;
    const large = tensor.shape[0] === config['vocab_size'];
    if (large) tensor.shape[0] = vocabSize;
    const piece = large
      ? Buffer.alloc(tensor.shape.reduce((a, b) => a * b) * 2)
      : bytes.subarray(start + begin, start + end);
    tensor.data_offsets = [offset, offset + piece.length];
    offset += piece.length;
    pieces.push(piece);
  }
  const text = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  writeFileSync(join(to, 'model.safetensors'), Buffer.concat([length, text, ...pieces]));
}
