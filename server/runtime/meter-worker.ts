/** The meter's thread: tokenizers of the models that were asked about, and no engine. */
import { type MessagePort, parentPort } from 'node:worker_threads';
import { codeOf, sayingOf } from '../rpc/errors';
import { countSet } from '../tasks/fewshot/count';
import type { Reader } from '../tasks/fewshot/fit';
import { profileFor } from '../tasks/profiles';
import { TextCodec } from '../text/codec';
import { readConfig } from '../weights/config';
import type { FromMeter, ToMeter } from './meter-messages';
import type { ModelFolder } from './models';

/** The last model asked about; who switches to and fro waits a moment. */
let last: { readonly dir: string; readonly state: string; readonly reader: Promise<Reader> } | undefined;

function readerOf({ name, dir, state }: ModelFolder): Promise<Reader> {
  if (last?.dir !== dir || last.state !== state) {
    const reader = Promise.all([TextCodec.open(dir), readConfig(dir)]).then(([codec, config]) => {
      return { codec, profile: profileFor(name, config) };
    });
    const entry = { dir, state, reader };
    last = entry;
    // A folder that could not be read is looked at again: it may have been in the making.
    reader.catch(() => {
      if (last === entry) last = undefined;
    });
  }
  return last.reader;
}

function serve(port: MessagePort): void {
  port.on('message', ({ id, folder, set, input }: ToMeter) => {
    const answer = (message: FromMeter) => port.postMessage(message);
    readerOf(folder)
      .then((reader) => answer({ id, kind: 'count', count: { model: folder.name, ...countSet(reader, set, input) } }))
      .catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        answer({ id, kind: 'error', code: codeOf(error), message, ...sayingOf(error) });
      });
  });
}

if (parentPort !== null) serve(parentPort);
