/**
 * The models that are known: registry.json, checked by a test. Each entry names a kind, which says in both languages what
 * such models are good and bad at; what an entry says itself comes first. Figures are those of figures.ts, written down.
 */
import type { KnownModel, ModelFigures, TaskName, Words } from '../protocol';
import { parseConfig, type T5Config } from '../weights/config';
import registry from './registry.json';

interface Kind {
  /** Of tasks/profiles.ts. */
  readonly family: string;
  readonly licence: string;
  readonly window: number;
  readonly trainedLength: number;
  readonly tasks: readonly TaskName[];
  readonly good: Words;
  readonly bad: Words;
}

interface Entry extends Partial<Pick<Kind, 'licence' | 'trainedLength'>> {
  readonly repository: string;
  readonly kind: string;
  /** How the repository stores its weights. */
  readonly stored: 'F32' | 'F16' | 'BF16';
  readonly note?: Words;
  /** The fields of its config.json that say its size. */
  readonly config: Readonly<Record<string, unknown>>;
  readonly figures: ModelFigures;
}

/** What is known of one model, with its architecture. */
export interface RegistryModel extends KnownModel {
  readonly config: T5Config;
  readonly family: string;
  readonly trainedLength: number;
}

const kinds = registry.kinds as unknown as Readonly<Record<string, Kind>>;
const entries = registry.models as unknown as readonly Entry[];
const STORED_BYTES = { F32: 4, F16: 2, BF16: 2 } as const;

/** All known models, the ones for most users first. */
export function knownModels(): RegistryModel[] {
  return entries.map(modelOf);
}

/**
 * A model by its repository, or by the name that it has when it is installed: the part after the organisation.
 * Names of repositories are told apart by case nowhere.
 */
export function knownModel(name: string): RegistryModel | undefined {
  const asked = name.toLowerCase();
  const entry = entries.find(({ repository }) => {
    const known = repository.toLowerCase();
    return known === asked || shortName(known) === asked;
  });
  return entry && modelOf(entry);
}

/** `google/flan-ul2` is called `flan-ul2` here. */
export function shortName(repository: string): string {
  return repository.slice(repository.lastIndexOf('/') + 1);
}

function modelOf(entry: Entry): RegistryModel {
  const kind = kinds[entry.kind];
  if (kind === undefined) throw new RangeError(`registry.json has no kind ${entry.kind}.`);
  const { repository, note, figures } = entry;
  return {
    repository,
    name: shortName(repository),
    ...figures,
    downloadBytes: figures.parameters * STORED_BYTES[entry.stored],
    window: kind.window,
    licence: entry.licence ?? kind.licence,
    tasks: kind.tasks,
    good: kind.good,
    bad: kind.bad,
    ...(note && { note }),
    family: kind.family,
    trainedLength: entry.trainedLength ?? kind.trainedLength,
    config: configOf(entry),
  };
}

function configOf({ config }: Entry): T5Config {
  // These repositories have an output layer of their own exactly where their config.json says so.
  return parseConfig(config, { lmHead: config['tie_word_embeddings'] === false });
}
