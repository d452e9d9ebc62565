/** What each request of protocol.ts does: checked parameters in, the service's promise out. */

import {
  type AvailableModel,
  type DoctorItem,
  Method,
  type ModelInfo,
  type RepositoryInfo,
  type Status,
} from '../protocol';
import type { ModelFiles } from '../runtime/model-files';
import type { PromptRequests } from '../runtime/prompts';
import type { PullService } from '../runtime/pulls';
import type { ModelService } from '../runtime/service';
import {
  cancelPullParams,
  checkParams,
  countPromptParams,
  hubChoice,
  installedParams,
  loadParams,
  pullParams,
  runManyParams,
  runParams,
  runPromptParams,
  scoreParams,
} from './params';
import type { Handler } from './session';

export interface HandlerDeps {
  readonly service: ModelService;
  readonly prompts: PromptRequests;
  readonly pulls: PullService;
  readonly files: ModelFiles;
  readonly status: () => Status;
  readonly models: () => Promise<readonly ModelInfo[]>;
  readonly available: () => Promise<readonly AvailableModel[]>;
  /** Says of a repository where it would fit. */
  readonly judged: (info: RepositoryInfo) => Promise<RepositoryInfo>;
  readonly doctor: () => Promise<readonly DoctorItem[]>;
  /** Ends the server, soon after it is called. */
  readonly stop: (reason: string) => void;
}

export function handlersOf({
  service,
  prompts,
  pulls,
  files,
  status,
  models,
  available,
  judged,
  doctor,
  stop,
}: HandlerDeps): ReadonlyMap<string, Handler> {
  return new Map<string, Handler>([
    [Method.run, (client, params, token, progress) => service.run(client, runParams(params), progress, token)],
    [Method.countPrompt, (_client, params) => prompts.count(countPromptParams(params))],
    [
      Method.runPrompt,
      (client, params, token, progress) => prompts.run(client, runPromptParams(params), progress, token),
    ],
    [
      Method.runPromptMany,
      (client, params, token, progress) => prompts.runMany(client, runManyParams(params), progress, token),
    ],
    [
      Method.checkPrompt,
      (client, params, token, progress) => prompts.check(client, checkParams(params), progress, token),
    ],
    [Method.score, (client, params, token) => service.score(client, scoreParams(params), token)],
    [
      Method.load,
      async (client, params, token, progress) => {
        await service.load(client, loadParams(params), progress, token);
        return status();
      },
    ],
    [Method.models, models],
    [Method.repository, async (_client, params, token) => judged(await files.repository(hubChoice(params), token))],
    [Method.pull, (_client, params) => pulls.start(pullParams(params))],
    [Method.pulls, () => pulls.list()],
    [Method.cancelPull, (_client, params) => pulls.cancel(cancelPullParams(params))],
    [Method.remove, (_client, params) => files.remove(installedParams(params).model)],
    [Method.verify, (_client, params, token, progress) => files.verify(installedParams(params).model, progress, token)],
    [Method.available, available],
    [Method.doctor, doctor],
    [Method.status, status],
    [
      Method.stop,
      () => {
        stop('a client asked for it');
        return null;
      },
    ],
  ]);
}
