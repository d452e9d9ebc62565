/** A pull in a process of its own, to be killed: `pull_child.cjs HUB MODELS`. Prints the state whenever it changes. */
import { pullModel } from '../../../../server/weights/hub/pull';

const [hubUrl = '', modelsDir = ''] = process.argv.slice(2);

let state = '';
pullModel({
  ...{ model: 'google/tiny', hubUrl, modelsDir, env: { HF_HOME: modelsDir } },
  signal: new AbortController().signal,
  noteMs: 2,
  lineLimits: { waitMs: 1, maxWaitMs: 20 },
  streamLimits: { minSegment: 8 * 1024, maxSegment: 32 * 1024, windowBytes: 128 * 1024, connections: 3 },
  onProgress: (progress) => {
    if (progress.state !== state) console.log(progress.state);
    state = progress.state;
  },
}).then(
  () => console.log('done'),
  (error: unknown) => {
    console.log(`failed: ${String(error)}`);
    process.exitCode = 1;
  },
);
