/** Whether a model that is loaded is what a request means. */
import type { LoadChoice, Loaded } from './messages';

/**
 * Whether what is loaded is what a choice would load: the default and its name, or `auto` and the engine that it took,
 * are not worth loading 20 GB again. An engine that was named before does not serve `auto`, which may find a better one.
 */
export function serves(
  loaded: { readonly choice: LoadChoice; readonly info: Pick<Loaded, 'dir' | 'engine'> },
  choice: LoadChoice,
): boolean {
  const { info } = loaded;
  if (choice.weights !== loaded.choice.weights) return false;
  if (choice.engine !== loaded.choice.engine && choice.engine !== info.engine) return false;
  if (JSON.stringify(choice.folders) === JSON.stringify(loaded.choice.folders)) return true;
  const folder = loaded.choice.folders.find(({ dir }) => dir === info.dir);
  return JSON.stringify(choice.folders[0]) === JSON.stringify(folder);
}
