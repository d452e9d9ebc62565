/** Room for a model: whether there is any, and which of the models that are loaded leave for it. */
import type { EngineChoice } from '../protocol';
import { say } from '../saying';
import type { Candidate, EngineRequest, ModelSize } from './candidate';
import type { EngineName } from './engine';
import { OutOfMemoryError } from './errors';

/** A model that is loaded now: its engine gets that memory back when it leaves. */
export interface Held {
  readonly engine: EngineName;
  readonly size: ModelSize;
}

export interface HeldModel extends Held {
  free(): Promise<void>;
}

interface RoomRequest<H extends Held> extends Pick<EngineRequest, 'weights'> {
  readonly choice: EngineChoice;
  /** The least recently used first. */
  readonly held: readonly H[];
  readonly candidates: readonly Candidate[];
}

/** An engine that a model could be loaded on. */
interface Place<H extends Held> {
  readonly candidate: Candidate;
  readonly need: number;
  /** Undefined where it cannot be told. */
  readonly freeBytes: number | undefined;
  readonly held: readonly H[];
  readonly heldBytes: number;
}

/**
 * Compares what a model needs with what is free, before any of it is read. Says nothing of engines that cannot be used:
 * `createEngine` does.
 *
 * @throws OutOfMemoryError when it fits no engine that it would be loaded on, not even alone.
 */
export async function checkRoom(size: ModelSize, request: RoomRequest<Held>): Promise<void> {
  let tooLarge: OutOfMemoryError | undefined;
  for await (const place of placesFor(size, request)) {
    if (fits(place)) return;
    const { candidate, need, freeBytes = 0, heldBytes } = place;
    const what = request.choice === 'auto' ? say('This model') : say('This model on {0}', candidate.name);
    tooLarge = new OutOfMemoryError(what, need, freeBytes + heldBytes);
  }
  if (tooLarge) throw tooLarge;
}

/**
 * Frees what has to leave for a model: all that is on its engine, but for what may stay beside it. Models stay while as much
 * as the new one needs stays free too, for longer requests and for other programs.
 */
export async function makeRoom(size: ModelSize, request: RoomRequest<HeldModel>): Promise<void> {
  for await (const place of placesFor(size, request)) {
    if (!fits(place)) continue;
    const { candidate, need, held } = place;
    let { freeBytes } = place;
    // Such a device may share the memory of any other.
    if (freeBytes === undefined) break;
    for (const model of held) {
      if (candidate.several && freeBytes >= 2 * need) return;
      await model.free();
      freeBytes = (await candidate.probe()).freeBytes ?? 0;
    }
    return;
  }
  for (const model of [...request.held]) await model.free();
}

function fits({ need, freeBytes, heldBytes }: Place<Held>): boolean {
  return freeBytes === undefined || need <= freeBytes + heldBytes;
}

async function* placesFor<H extends Held>(
  size: ModelSize,
  { choice, weights, held, candidates }: RoomRequest<H>,
): AsyncGenerator<Place<H>> {
  for (const candidate of candidates) {
    if (choice !== 'auto' && choice !== candidate.name) continue;
    if (weights === 'fp32' && candidate.name !== 'cpu') continue;
    const probe = await candidate.probe();
    if (!probe.ok || (probe.software && choice === 'auto')) continue;
    const here = held.filter(({ engine }) => engine === candidate.name);
    const heldBytes = here.reduce((sum, model) => sum + candidate.needBytes(model.size), 0);
    yield { candidate, need: candidate.needBytes(size), freeBytes: probe.freeBytes, held: here, heldBytes };
  }
}
