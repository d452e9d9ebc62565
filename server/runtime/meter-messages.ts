/** Messages between the server's thread and the meter's. Both run the same build. */
import type { PromptSet } from '../prompts/set';
import type { PromptCount } from '../protocol';
import type { JobError } from './messages';
import type { ModelFolder } from './models';

export interface ToMeter {
  readonly id: number;
  readonly folder: ModelFolder;
  readonly set: PromptSet;
  readonly input: string;
}

export type FromMeter = { readonly id: number; readonly kind: 'count'; readonly count: PromptCount } | JobError;
