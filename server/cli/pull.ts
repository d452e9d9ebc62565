/** pull: a model from the hub, a folder or the Hugging Face cache, in this process. Ctrl-C keeps what was fetched. */
import { join } from 'node:path';
import { CancelledError, UsageError } from '../errors';
import { knownModel } from '../models/registry';
import { flanPaths } from '../paths';
import { pullModel } from '../weights/hub/pull';
import { humanBytes } from '../weights/small';
import { interrupt } from './interrupt';
import { type Command, modelPath } from './options';
import type { Output } from './output';

export async function pull(command: Command, output: Output): Promise<void> {
  const [model, ...others] = command.positionals;
  if (model === undefined || model === '' || others.length > 0) {
    throw new UsageError('pull needs one model: flan pull google/flan-t5-small. See: flan models --available');
  }
  const name = command.value('name');
  const interrupted = interrupt();
  const stop = new AbortController();
  interrupted.token.onCancellationRequested(() => stop.abort());
  const start = performance.now();
  try {
    const pulled = await pullModel({
      model: repositoryOf(modelPath(model)),
      ...(name === undefined ? {} : { name }),
      keepOriginal: command.has('keep-original'),
      modelsDir: flanPaths().models,
      env: process.env,
      signal: stop.signal,
      quantizerFile: join(__dirname, 'quantizer.js'),
      hasherFile: join(__dirname, 'hasher.js'),
      onProgress: ({ message, bytes, totalBytes }) =>
        output.progress(message, totalBytes > 0 ? bytes / totalBytes : undefined),
    });
    const seconds = (performance.now() - start) / 1000;
    if (command.json) {
      output.json({ ...pulled, seconds });
      return;
    }
    for (const note of pulled.notes) output.note(note);
    if (pulled.made) output.note(`Installed ${pulled.name}, ${humanBytes(pulled.bytes)}, in ${seconds.toFixed(1)} s.`);
    output.lines([pulled.dir]);
  } catch (error) {
    if (error instanceof CancelledError) output.note('What was fetched is kept. The same command goes on from there.');
    throw error;
  } finally {
    interrupted.dispose();
  }
}

/** A known model may be named without its organisation: `flan-ul2`, `flan-ul2@refs/pr/29`. */
function repositoryOf(model: string): string {
  const [name = '', ...revision] = model.split('@');
  const known = /^[\w.-]+$/.test(name) ? knownModel(name) : undefined;
  return known === undefined ? model : [known.repository, ...revision].join('@');
}
