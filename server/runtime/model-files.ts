/** The requests about models as files: what a repository holds, removing and verifying what is installed. */
import { basename, dirname, resolve } from 'node:path';
import { FlanError } from '../errors';
import type { Paths } from '../paths';
import type { HubChoice, Progress, Removed, RepositoryInfo, Verified } from '../protocol';
import { say } from '../saying';
import { removeInstalled, verifyInstalled } from '../weights/hub/installed';
import { unfinishedPulls } from '../weights/hub/workspace';
import { modelFolders, UnknownModelError } from './models';
import type { PullService } from './pulls';
import type { CancelToken } from './service';

/** The built-in model, and folders elsewhere, are not ours to remove. */
export class NotInstalledError extends FlanError {
  constructor(dir: string) {
    super('not-installed', say('{0} was not installed by flan and is left as it is. Remove the folder yourself.', dir));
  }
}

type Places = Pick<Paths, 'models' | 'cache'>;

export class ModelFiles {
  readonly #paths: Places;
  readonly #pulls: Pick<PullService, 'cancel'> | undefined;

  /** `pulls`: those of this process, which may be of a model that is to be removed. */
  constructor(paths: Places, pulls?: Pick<PullService, 'cancel'>) {
    this.#paths = paths;
    this.#pulls = pulls;
  }

  async repository(choice: HubChoice, token: CancelToken): Promise<RepositoryInfo> {
    const stop = new AbortController();
    const listener = token.onCancellationRequested(() => stop.abort());
    try {
      // What speaks to the hub is read at its first use: a server needs it seldom.
      const { lookAt } = await import('../weights/hub/look');
      return await lookAt({ ...choice, modelsDir: this.#paths.models, env: process.env, signal: stop.signal });
    } finally {
      listener.dispose();
    }
  }

  /** @throws UnknownModelError, NotInstalledError, PullRunsError */
  async remove(model: string): Promise<Removed> {
    const name = await this.#nameOf(model);
    await this.#pulls?.cancel({ name }).catch(() => {}); // Mostly there is none.
    return removeInstalled(this.#paths.models, this.#paths.cache, name);
  }

  /** @throws UnknownModelError, CancelledError */
  async verify(model: string, progress: (progress: Progress) => void, token: CancelToken): Promise<Verified> {
    const folder = await this.#folderOf(model);
    return verifyInstalled(folder.name, folder.dir, {
      signal: {
        get stopped() {
          return token.isCancellationRequested;
        },
      },
      onProgress: ({ message, fraction }) => progress({ kind: 'loading', model: folder.name, message, fraction }),
    });
  }

  async #folderOf(model: string): Promise<{ readonly name: string; readonly dir: string }> {
    const [folder] = await modelFolders(this.#paths, model);
    if (!folder) throw new UnknownModelError(model, []);
    return folder;
  }

  /** The name of something that may be removed: an installed model, or what is unfinished of one. */
  async #nameOf(model: string): Promise<string> {
    const name = model.slice(model.indexOf('/') + 1);
    const unfinished = (await unfinishedPulls(this.#paths.models)).some((pull) => pull.name === name);
    const found = await this.#folderOf(model).catch((error: unknown) => {
      if (unfinished) return undefined;
      throw error;
    });
    if (!found) return name;
    if (dirname(resolve(found.dir)) !== resolve(this.#paths.models)) throw new NotInstalledError(found.dir);
    return basename(found.dir);
  }
}
