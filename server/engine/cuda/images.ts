/** The compiled kernels: fat binaries beside this program (scripts/build-kernels.mjs makes them). */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { KernelsMissingError } from './errors';

/** In the sources they lie beside this file; in the bundle, in `cuda` beside the script. */
const FOLDERS = [join(__dirname, 'images'), join(__dirname, 'cuda')];

export function kernelImage(name: 'decoder' | 'encoder'): Uint8Array {
  let failure: unknown;
  for (const folder of FOLDERS) {
    try {
      return readFileSync(join(folder, `${name}.fatbin`));
    } catch (error) {
      failure = error;
    }
  }
  throw new KernelsMissingError(`${name}.fatbin`, failure);
}
