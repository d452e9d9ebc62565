/** A hub, a home, and pulls between them, with small segments and short waits. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach } from 'vitest';
import { convertFolder } from '../../../../server/weights/convert';
import type { Pulled, PullOptions, PullProgress } from '../../../../server/weights/hub/progress';
import { pullModel } from '../../../../server/weights/hub/pull';
import { HubStandIn } from '../../../support/hub';
import { writeCheckpoint } from '../support';

export type Options = Partial<PullOptions>;

export class Place {
  readonly dir = mkdtempSync(join(tmpdir(), 'flan-pull-'));
  readonly models = join(this.dir, 'models');
  readonly progress: PullProgress[] = [];
  readonly hub: HubStandIn;

  private constructor(hub: HubStandIn) {
    this.hub = hub;
  }

  static async create(): Promise<Place> {
    const place = new Place(await HubStandIn.start());
    places.push(place);
    return place;
  }

  pull(model: string, options: Options = {}): Promise<Pulled> {
    return pullModel({
      model,
      hubUrl: options.hubUrl ?? this.hub.url,
      modelsDir: this.models,
      env: { HF_HOME: join(this.dir, 'hf') },
      signal: new AbortController().signal,
      onProgress: (progress) => this.progress.push(progress),
      noteMs: 0,
      ...options,
      lineLimits: { waitMs: 1, maxWaitMs: 4, tries: 12, firstTries: 3, silentMs: 1_000, ...options.lineLimits },
      streamLimits: {
        minSegment: 4096,
        maxSegment: 16 * 1024,
        windowBytes: 64 * 1024,
        connections: 3,
        ...options.streamLimits,
      },
    });
  }

  /** What converting a folder gives, by file. */
  async converted(source: string): Promise<Record<string, string>> {
    const out = mkdtempSync(join(this.dir, 'converted-'));
    await convertFolder(source, out);
    return filesOf(out);
  }

  /** The files of an installed model, but for what says where it came from. */
  installed(name: string): Record<string, string> {
    const { 'origin.json': _, ...files } = filesOf(join(this.models, name));
    return files;
  }

  get unfinished(): string[] {
    return readdirSync(join(this.models, '.pulls'));
  }

  async close(): Promise<void> {
    await this.hub.close();
    rmSync(this.dir, { recursive: true, force: true });
  }
}

const places: Place[] = [];
afterEach(async () => {
  for (const place of places.splice(0)) await place.close();
});

function filesOf(dir: string): Record<string, string> {
  return Object.fromEntries(readdirSync(dir).map((name) => [name, readFileSync(join(dir, name)).toString('base64')]));
}

/** A model of two shards, some 100 kB each. */
export async function prepared(): Promise<{ place: Place; source: string; expected: Record<string, string> }> {
  const place = await Place.create();
  const source = join(place.dir, 'source');
  mkdirSync(source);
  writeCheckpoint(source, { dtype: 'BF16', shards: 2, config: { vocab_size: 2000 } });
  writeFileSync(join(source, 'tokenizer.json'), '{"model": {}}');
  place.hub.add('google/tiny', source);
  return { place, source, expected: await place.converted(source) };
}
