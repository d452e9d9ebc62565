/** convert: a checkpoint folder into a pre-quantized one, in this process. Ctrl-C leaves nothing half made. */
import { join, resolve } from 'node:path';
import { UsageError } from '../errors';
import { convertFolder } from '../weights/convert';
import { humanBytes } from '../weights/small';
import { interrupt } from './interrupt';
import type { Command } from './options';
import type { Output } from './output';

export async function convert(command: Command, output: Output): Promise<void> {
  const [dir, ...others] = command.positionals;
  const out = command.value('out');
  if (dir === undefined || dir === '' || others.length > 0 || out === undefined || out === '') {
    throw new UsageError('convert needs a folder and where to write: flan convert DIR --out DIR2');
  }
  const stop = interrupt();
  const start = performance.now();
  try {
    const made = await convertFolder(resolve(dir), resolve(out), {
      signal: {
        get stopped() {
          return stop.token.isCancellationRequested;
        },
      },
      quantizerFile: join(__dirname, 'quantizer.js'),
      onProgress: ({ message, fraction }) => output.progress(message, fraction),
    });
    const seconds = (performance.now() - start) / 1000;
    if (command.json) {
      output.json({ ...made, seconds });
      return;
    }
    for (const note of made.notes) output.note(note);
    output.note(`Wrote ${humanBytes(made.bytes)} in ${seconds.toFixed(1)} s.`);
    output.lines([made.dir]);
  } finally {
    stop.dispose();
  }
}
