/** Loads what `link.js` needs in the parts that `scripts/parts.mjs` cuts it into. No `vscode`. */
import { immediate } from './turns';

/** Put in by `esbuild.mjs`: the parts in their order, beside this bundle. */
declare const LINK_PARTS: readonly string[];

/** Each export runs one module, unless it ran. */
interface Part {
  readonly modules: Readonly<Record<string, () => unknown>>;
}

/** Others have their turn after so long; the longest module takes some milliseconds more. */
const TURN_MS = 2;

/** The editor's host does one thing at a time, and this is a hundred milliseconds of work on a slow machine. */
export async function loadParts(): Promise<void> {
  for (const file of LINK_PARTS) {
    await immediate();
    const { modules }: Part = await import(file);
    await immediate();
    let since = performance.now();
    for (const run of Object.values(modules)) {
      run();
      if (performance.now() - since < TURN_MS) continue;
      await immediate();
      since = performance.now();
    }
  }
}
