/** What each request of protocol.ts does: checked parameters in, the service's promise out. */
import { type DoctorItem, Method, type ModelInfo, type Status } from '../protocol';
import type { ModelService } from '../runtime/service';
import { loadParams, runParams, scoreParams } from './params';
import type { Handler } from './session';

export interface HandlerDeps {
  readonly service: ModelService;
  readonly status: () => Status;
  readonly models: () => Promise<readonly ModelInfo[]>;
  readonly doctor: () => Promise<readonly DoctorItem[]>;
  /** Ends the server, soon after it is called. */
  readonly stop: (reason: string) => void;
}

export function handlersOf({ service, status, models, doctor, stop }: HandlerDeps): ReadonlyMap<string, Handler> {
  return new Map<string, Handler>([
    [Method.run, (client, params, token, progress) => service.run(client, runParams(params), progress, token)],
    [Method.score, (client, params, token) => service.score(client, scoreParams(params), token)],
    [
      Method.load,
      async (client, params, token, progress) => {
        await service.load(client, loadParams(params), progress, token);
        return status();
      },
    ],
    [Method.models, models],
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
