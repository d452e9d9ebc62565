/** The thread that hashes what a pull fetches: started by Hasher. What it hashes lies in shared memory. */
import { parentPort } from 'node:worker_threads';
import { Sha256 } from './sha256';

/** One file after the other: each begins with the state of its beginning. */
export type ToHashThread =
  | { readonly kind: 'begin'; readonly state: string }
  | { readonly kind: 'update'; readonly bytes: Uint8Array; readonly ends: readonly number[] }
  | { readonly kind: 'digest' };

/** One answer to each `update` and `digest`, in their order. */
export type FromHashThread = { readonly states: readonly string[] } | { readonly digest: string };

/** Hashes bytes, and gives the states at some of their places, which ascend. */
export function hashParts(hash: Sha256, bytes: Uint8Array, ends: readonly number[]): string[] {
  let at = 0;
  const states = ends.map((end) => {
    hash.update(bytes.subarray(at, end));
    at = end;
    return hash.save();
  });
  hash.update(bytes.subarray(at));
  return states;
}

function serve(port: NonNullable<typeof parentPort>): void {
  let hash = new Sha256();
  const answer = (message: FromHashThread) => port.postMessage(message);
  port.on('message', (message: ToHashThread) => {
    if (message.kind === 'begin') hash = Sha256.restore(message.state);
    else if (message.kind === 'update') answer({ states: hashParts(hash, message.bytes, message.ends) });
    else answer({ digest: hash.digest() });
  });
}

if (parentPort !== null) serve(parentPort);
