/**
 * The model thread: the only one that calls native code. Native calls block it, so cancelling does not come as a
 * message: it is a flag in shared memory, read between the steps of a job.
 */
import { join } from 'node:path';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { Engine } from '../engine/engine';
import type { Held } from '../engine/select';
import { FlanError } from '../errors';
import { sizeOf } from '../models/figures';
import type { Progress } from '../protocol';
import { codeOf, sayingOf } from '../rpc/errors';
import { answerPrompt } from '../tasks/fewshot/answer';
import type { TaskModel } from '../tasks/model';
import { runTask } from '../tasks/run';
import { runScore } from '../tasks/score';
import { loadModel } from './load';
import type { FromWorker, JobName, Jobs, LoadChoice, Loaded, ToWorker, WorkerSetup } from './messages';
import { paceLoading } from './pacer';
import { SharedStop } from './stop';

class ModelHost {
  readonly #port: MessagePort;
  readonly #setup: WorkerSetup;
  #model: TaskModel | undefined;

  constructor(port: MessagePort, setup: WorkerSetup) {
    this.#port = port;
    this.#setup = setup;
    // Jobs come one after another; the chain keeps it so whatever the other side does.
    let before = Promise.resolve();
    port.on('message', (message: ToWorker) => {
      before = before.then(() => this.#answer(message));
    });
  }

  async #answer(message: ToWorker): Promise<void> {
    const { id } = message;
    try {
      this.#send({ id, kind: 'result', result: await this.#job(message) });
    } catch (error) {
      // Not one of ours: a fault, whose stack is wanted in the log.
      if (!(error instanceof FlanError)) console.error(error);
      const text = error instanceof Error ? error.message : String(error);
      this.#send({ id, kind: 'error', code: codeOf(error), message: text, ...sayingOf(error) });
    }
  }

  async #job(message: ToWorker): Promise<Jobs[JobName]['result']> {
    const { id } = message;
    const signal = new SharedStop(message.stop);
    switch (message.job) {
      case 'load':
        return this.#load(message.params, id, signal);
      case 'run':
      case 'prompt': {
        const onProgress = (progress: Progress) => this.#send({ id, kind: 'progress', progress });
        const model = this.#loaded();
        const hooks = { signal, onProgress, draft: model.engine.info.draftTokens };
        return message.job === 'run'
          ? runTask(model, message.params, hooks)
          : answerPrompt(model, message.params, hooks);
      }
      case 'score':
        return runScore(this.#loaded(), message.params, { signal });
      case 'dispose':
        await this.#free();
        return null;
    }
  }

  async #load(choice: LoadChoice, id: number, signal: SharedStop): Promise<Loaded> {
    const free = async () => {
      await this.#free();
      this.#send({ id, kind: 'freed' });
    };
    const { model, dir, why, notes } = await loadModel({
      ...choice,
      ...(this.#model === undefined ? {} : { free, held: heldBy(this.#model.engine) }),
      cacheDir: this.#setup.cacheDir,
      quantizerFile: join(__dirname, 'quantizer.js'),
      signal,
      onProgress: paceLoading((progress) => this.#send({ id, kind: 'progress', progress })),
    });
    this.#model = { ...model, loadMs: 0 };
    const { name, demo, engine, weights, loadMs } = model;
    console.error(`loaded ${name} on ${engine.info.device} in ${Math.round(loadMs)} ms. ${[why, ...notes].join(' ')}`);
    return { model: name, dir, demo, engine: engine.info.engine, device: engine.info.device, weights, why, loadMs };
  }

  async #free(): Promise<void> {
    const model = this.#model;
    this.#model = undefined;
    await model?.engine.dispose();
  }

  #loaded(): TaskModel {
    if (this.#model === undefined) throw new FlanError('not-loaded', 'No model is loaded. Send the request again.');
    return this.#model;
  }

  #send(message: FromWorker): void {
    this.#port.postMessage(message);
  }
}

function heldBy({ info, config }: Engine): Held {
  return { engine: info.engine, size: sizeOf(config) };
}

if (parentPort !== null) new ModelHost(parentPort, workerData as WorkerSetup);
