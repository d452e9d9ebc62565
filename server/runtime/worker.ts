/**
 * The model thread: the only one that calls native code. Native calls block it, so cancelling does not come as a
 * message: it is a flag in shared memory, read between the steps of a job.
 */
import { join } from 'node:path';
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import type { HeldModel } from '../engine/room';
import { FlanError } from '../errors';
import { sizeOf } from '../models/figures';
import type { Progress } from '../protocol';
import { codeOf, sayingOf } from '../rpc/errors';
import { answerPrompt } from '../tasks/fewshot/answer';
import type { TaskModel } from '../tasks/model';
import { runTask } from '../tasks/run';
import { runScore } from '../tasks/score';
import { loadModel } from './load';
import type { FromWorker, JobName, Jobs, LoadChoice, Loaded, LoadedBeside, ToWorker, WorkerSetup } from './messages';
import { paceLoading } from './pacer';
import { serves } from './serves';
import { SharedStop } from './stop';

/** A model in memory. */
interface Hosted extends HeldModel {
  readonly model: TaskModel;
  readonly choice: LoadChoice;
  readonly info: Omit<Loaded, 'loadMs' | 'beside'>;
}

class ModelHost {
  readonly #port: MessagePort;
  readonly #setup: WorkerSetup;
  /** The least recently used first: jobs go to the last one. */
  readonly #hosted: Hosted[] = [];
  /** Of the job that runs. */
  #id = 0;

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
    this.#id = id;
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
        for (const hosted of [...this.#hosted]) await hosted.free();
        return null;
    }
  }

  async #load(choice: LoadChoice, id: number, signal: SharedStop): Promise<Loaded> {
    const kept = this.#hosted.find((hosted) => serves(hosted, choice));
    if (kept !== undefined) {
      this.#hosted.push(...this.#hosted.splice(this.#hosted.indexOf(kept), 1));
      return { ...kept.info, loadMs: 0, beside: this.#beside() };
    }
    const { model, dir, why, notes } = await loadModel({
      ...choice,
      held: this.#hosted,
      cacheDir: this.#setup.cacheDir,
      quantizerFile: join(__dirname, 'quantizer.js'),
      signal,
      onProgress: paceLoading((progress) => this.#send({ id, kind: 'progress', progress })),
    });
    const { name, demo, engine, weights, loadMs } = model;
    const { engine: engineName, device } = engine.info;
    console.error(`loaded ${name} on ${device} in ${Math.round(loadMs)} ms. ${[why, ...notes].join(' ')}`);
    // Earlier states of the same folder: nothing will ask for them again.
    for (const hosted of this.#hosted.filter(
      (other) => other.info.dir === dir && !sameState(other.choice, choice, dir),
    )) {
      await hosted.free();
    }
    const hosted: Hosted = {
      ...{ model: { ...model, loadMs: 0 }, choice, engine: engineName, size: sizeOf(engine.config) },
      info: { model: name, dir, demo, engine: engineName, device, weights, why },
      free: async () => {
        const at = this.#hosted.indexOf(hosted);
        if (at < 0) return;
        this.#hosted.splice(at, 1);
        await engine.dispose();
        const used = at === this.#hosted.length;
        this.#send({ id: this.#id, kind: 'freed', ...(used ? {} : { beside: this.#beside() }) });
      },
    };
    this.#hosted.push(hosted);
    return { ...hosted.info, loadMs, beside: this.#beside() };
  }

  #beside(): LoadedBeside[] {
    return this.#hosted
      .slice(0, -1)
      .map(({ info: { model, dir, engine, device } }) => ({ model, dir, engine, device }));
  }

  #loaded(): TaskModel {
    const hosted = this.#hosted.at(-1);
    if (hosted === undefined) throw new FlanError('not-loaded', 'No model is loaded. Send the request again.');
    return hosted.model;
  }

  #send(message: FromWorker): void {
    this.#port.postMessage(message);
  }
}

function sameState(a: LoadChoice, b: LoadChoice, dir: string): boolean {
  const [one, other] = [a, b].map(({ folders }) => folders.find((folder) => folder.dir === dir)?.state);
  return one === other;
}

if (parentPort !== null) new ModelHost(parentPort, workerData as WorkerSetup);
