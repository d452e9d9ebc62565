/** What a task needs of a loaded model. */
import type { Engine } from '../engine/engine';
import type { TextCodec } from '../text/codec';
import { Substituter } from '../text/substitute';
import type { ModelProfile } from './profiles';

export interface TaskModel {
  readonly name: string;
  readonly engine: Engine;
  readonly codec: TextCodec;
  readonly profile: ModelProfile;
  /** The built-in demonstration model. */
  readonly demo: boolean;
  readonly weights: 'int8' | 'fp32';
  /** Milliseconds of loading that this request waited for; 0 when it was loaded. */
  readonly loadMs: number;
}

const substituters = new WeakMap<TextCodec, Substituter>();

/** One per tokenizer, since it remembers what the vocabulary can write. */
export function substituterOf(codec: TextCodec): Substituter {
  let substituter = substituters.get(codec);
  if (substituter === undefined) {
    substituter = new Substituter(codec);
    substituters.set(codec, substituter);
  }
  return substituter;
}
