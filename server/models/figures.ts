/** What a model costs, computed from its configuration alone: parameters, bytes on the disk, memory on each engine. */
import type { Candidate, ModelSize } from '../engine/candidate';
import type { ModelFigures } from '../protocol';
import type { T5Config } from '../weights/config';
import { parametersOf } from '../weights/layout';
import { planOf } from '../weights/plan';

/** Source lengths that figures are given for: what most selections take, and the longest that the family was trained on. */
export const SOURCE_TOKENS = [512, 2048] as const;

/** What an engine's memory check is asked about a model that is not on this disk. The header of its file counts for nothing. */
export function sizeOf(config: T5Config): ModelSize {
  return { config, fileBytes: planOf(config, 'int8').dataBytes };
}

/** @param engines whose `needBytes` is asked: those of engine/select.ts */
export function figuresOf(config: T5Config, engines: readonly Pick<Candidate, 'name' | 'needBytes'>[]): ModelFigures {
  const size = sizeOf(config);
  const memory = (name: Candidate['name']) => {
    const engine = engines.find((candidate) => candidate.name === name);
    if (engine === undefined) throw new RangeError(`There is no engine ${name}.`);
    const [short, long] = SOURCE_TOKENS.map((tokens) => Math.ceil(engine.needBytes(size, tokens)));
    return [short ?? 0, long ?? 0] as const;
  };
  return {
    parameters: parametersOf(config),
    int8Bytes: size.fileBytes,
    memory: { cuda: memory('cuda'), cpu: memory('cpu') },
  };
}
