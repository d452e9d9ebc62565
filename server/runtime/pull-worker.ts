/** The thread of one pull: quantizing and hashing take the processor for minutes, and the server answers meanwhile. */
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { codeOf, sayingOf } from '../rpc/errors';
import { pullModel } from '../weights/hub/pull';
import { type FromPull, type PullJob, STOP_PULL } from './pull-messages';

if (parentPort !== null) {
  const port = parentPort;
  const { params, modelsDir } = workerData as PullJob;
  const send = (message: FromPull) => port.postMessage(message);
  const stop = new AbortController();
  port.on('message', (message) => {
    if (message === STOP_PULL) stop.abort();
  });
  const onProgress = (progress: Extract<FromPull, { kind: 'progress' }>['progress']) =>
    send({ kind: 'progress', progress });
  const threads = { quantizerFile: join(__dirname, 'quantizer.js'), hasherFile: join(__dirname, 'hasher.js') };
  pullModel({ ...params, ...threads, modelsDir, env: process.env, signal: stop.signal, onProgress })
    .then((pulled) => send({ kind: 'done', pulled }))
    .catch((error: unknown) => {
      const message = error instanceof Error ? error.message : String(error);
      send({ kind: 'failed', code: codeOf(error), message, ...sayingOf(error) });
    })
    .finally(() => port.close());
}
