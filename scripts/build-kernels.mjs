// Compiles the CUDA kernels into the fat binaries that the CUDA engine loads: server/engine/cuda/images/{decoder,encoder}.fatbin.
// They are part of the repository, because nvcc (CUDA 13) is not on a user's machine, nor on most developers'.
//
//   node scripts/build-kernels.mjs           compiles what changed
//   node scripts/build-kernels.mjs --check   says whether the binaries belong to the sources; needs no compiler
//
// FLAN_KERNEL_CARDS=90 limits the build to some cards, for a quick trial; such an image is not one to commit, and --check
// refuses it.
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

const root = join(import.meta.dirname, '..');
const sources = join(root, 'server/engine/cuda/kernels');
const images = join(root, 'server/engine/cuda/images');

// Machine code for each generation since Ampere, and PTX that later cards compile when the kernels are loaded.
const CARDS = ['80', '86', '89', '90', '100', '120'];
const IMAGES = {
  // Without contraction of a*b+c: one column and eight must round alike, whatever the compiler makes of either.
  decoder: { flags: ['-fmad=false'], card: (card) => card, ptx: '90' },
  // The encoder's products for Hopper use instructions of sm_90a alone.
  encoder: { flags: [], card: (card) => (card === '90' ? '90a' : card), ptx: '80' },
};
const FLAGS = ['-std=c++17', '-O3', '-Xfatbin', '-compress-all', '--fatbin', '-diag-suppress', '177'];

const run = promisify(execFile);
const check = process.argv.includes('--check');
const cards = process.env['FLAN_KERNEL_CARDS']?.split(',') ?? CARDS;
let stale = 0;

for (const [name, image] of Object.entries(IMAGES)) {
  const flags = [
    ...FLAGS,
    ...image.flags,
    ...cards.flatMap((card) => gencode(image.card(card), `sm_${image.card(card)}`)),
  ];
  flags.push(...gencode(image.ptx, `compute_${image.ptx}`));
  const hash = await hashOf(name, flags);
  const stamp = join(images, `${name}.sha256`);
  const known = await readFile(stamp, 'utf8').catch(() => '');
  if (known.trim() === hash) {
    console.log(`${name}: up to date`);
  } else if (check) {
    console.error(
      `${name}: the binary does not belong to the sources. Run \`npm run build:kernels\` where nvcc is installed.`,
    );
    stale++;
  } else {
    await mkdir(images, { recursive: true });
    const out = join(images, `${name}.fatbin`);
    const temporary = `${out}.${process.pid}.tmp`;
    console.log(`${name}: compiling for ${cards.join(', ')}`);
    await run('nvcc', [...flags, '--threads', '0', '-o', temporary, join(sources, `${name}.cu`)], {
      maxBuffer: 2 ** 26,
    });
    await rename(temporary, out);
    await writeFile(stamp, `${hash}\n`);
  }
}
process.exitCode = stale === 0 ? 0 : 1;

/** Of everything that decides what comes out: this image's sources, what both share, and the flags. */
async function hashOf(name, flags) {
  const hash = createHash('sha256').update(JSON.stringify(flags));
  const files = (await readdir(sources)).filter((file) => file.startsWith(name) || file.startsWith('common')).sort();
  for (const file of files) hash.update(file).update(await readFile(join(sources, file)));
  return hash.digest('hex');
}

function gencode(arch, code) {
  return ['-gencode', `arch=compute_${arch.replace(/^sm_/, '')},code=${code}`];
}
