/**
 * A conversion in a process of its own, for tests that kill it or run two at once: `child.js SOURCE OUT DELAY`. Every write
 * takes DELAY milliseconds. Prints `progress` at the first portion, and at the end the result as JSON.
 */
import { open } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { convertCheckpoint } from '../../../server/weights/convert';
import type { OpenOutput } from '../../../server/weights/writer';

const [source = '', out = '', delay = '0'] = process.argv.slice(2);

const slow: OpenOutput = async (path) => {
  const file = await open(path, 'wx+');
  const write = file.write.bind(file) as typeof file.write;
  return Object.assign(file, {
    write: async (...args: Parameters<typeof file.write>) => {
      await setTimeout(Number(delay));
      return write(...args);
    },
  }) as typeof file;
};

let started = false;
convertCheckpoint({
  source,
  out,
  format: 'int8',
  openOutput: slow,
  onProgress: ({ message }) => {
    if (!started && !message.startsWith('Waiting')) console.log('progress');
    started = true;
  },
}).then(
  ({ made, file }) => console.log(JSON.stringify({ made, sha256: file.sha256 })),
  (error: unknown) => {
    console.log(JSON.stringify({ error: String(error) }));
    process.exitCode = 1;
  },
);
