/** Messages between the server's thread and one that pulls a model. Both run the same build. */
import type { PullParams } from '../protocol';
import type { Saying } from '../saying';
import type { Pulled, PullProgress } from '../weights/hub/progress';

/** What the thread is started with. The token is in memory only. */
export interface PullJob {
  readonly params: PullParams;
  readonly modelsDir: string;
}

/** The one message to it: stop. */
export const STOP_PULL = 'stop';

export type FromPull =
  | { readonly kind: 'progress'; readonly progress: PullProgress }
  | { readonly kind: 'done'; readonly pulled: Pulled }
  | { readonly kind: 'failed'; readonly code: string; readonly message: string; readonly saying?: Saying };
