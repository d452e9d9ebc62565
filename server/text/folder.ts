/** Which files of a model folder its tokenizer is made from, and what is said when they are missing or damaged. */
import { basename, join } from 'node:path';
import { FlanError } from '../errors';
import { readSmall, TooLargeError } from '../weights/small';
import type { TokenizerBackend } from './backend';
import { byteLevelTokenizer } from './bytelevel';
import { LibraryBackend } from './library';
import { SentencePieceBackend } from './sentencepiece/backend';

/** The folder's tokenizer is missing, broken, or of a kind that cannot be used. */
export class TokenizerError extends FlanError {
  constructor(message: string, options?: ErrorOptions) {
    super('tokenizer', message, options);
  }
}

/** The 256,000 pieces of the largest vocabularies in use take some tens of megabytes in JSON. */
const MAX_FILE_BYTES = 256 * 1024 * 1024;

/** T5's tokenizer has so many sentinels unless its folder says another number. */
const SENTINELS = 100;

type Fields = Readonly<Record<string, unknown>>;

/**
 * The first of these that the folder has: `tokenizer.json`; a SentencePiece model; `vocab.json` with `merges.txt`.
 *
 * The library does not write unknown characters in bytes. Where a `tokenizer.json` asks for that (umT5), and the
 * SentencePiece model that it was made from lies beside it, that is used.
 *
 * @throws TokenizerError
 */
export async function openTokenizer(dir: string): Promise<TokenizerBackend> {
  const config = (await readObject(dir, 'tokenizer_config.json')) ?? {};
  const json = await readObject(dir, 'tokenizer.json');
  const pieces = await readBytes(dir, 'spiece.model');
  if (json !== undefined && !(pieces !== undefined && fallsBackToBytes(json))) {
    const model = json['model'] as { readonly vocab?: unknown } | null | undefined;
    if (typeof model?.vocab !== 'object' || model.vocab === null) {
      throw new TokenizerError(`${basename(dir)}/tokenizer.json has no vocabulary. Download the model's files again.`);
    }
    return make(dir, 'tokenizer.json', () => new LibraryBackend(json, config));
  }
  if (pieces !== undefined) {
    const added = (await readObject(dir, 'added_tokens.json')) ?? {};
    const map = (await readObject(dir, 'special_tokens_map.json')) ?? {};
    return make(dir, 'spiece.model', () => new SentencePieceBackend(pieces, extrasOf(config, added, map)));
  }
  const vocab = await readObject(dir, 'vocab.json');
  const merges = await readBytes(dir, 'merges.txt');
  if (vocab !== undefined && merges !== undefined) {
    const files = {
      vocab,
      merges: merges.toString('utf8'),
      specialTokens: (await readObject(dir, 'special_tokens_map.json')) ?? {},
      addedTokens: (await readObject(dir, 'added_tokens.json')) ?? {},
      config,
    };
    return make(dir, 'vocab.json', () => new LibraryBackend(byteLevelTokenizer(files), {}));
  }
  const half = vocab !== undefined ? ': merges.txt is missing' : merges !== undefined ? ': vocab.json is missing' : '';
  throw new TokenizerError(
    `Cannot read the tokenizer of ${dir}${half}. A model folder needs tokenizer.json, spiece.model, or vocab.json with merges.txt: download the model again.`,
  );
}

function make(dir: string, file: string, build: () => TokenizerBackend): TokenizerBackend {
  try {
    return build();
  } catch (error) {
    throw new TokenizerError(
      `${join(dir, file)} cannot be used: ${messageOf(error)}. Download the model's files again.`,
      {
        cause: error,
      },
    );
  }
}

function fallsBackToBytes(json: Fields): boolean {
  const model = json['model'] as Fields | null | undefined;
  return model?.['byte_fallback'] === true && Array.isArray(model['vocab']);
}

function extrasOf(config: Fields, addedTokens: Fields, map: Fields) {
  const added = new Map<string, number>();
  for (const [content, id] of Object.entries(addedTokens)) if (typeof id === 'number') added.set(content, id);
  for (const [id, token] of Object.entries((config['added_tokens_decoder'] ?? {}) as Fields)) {
    const { content, special } = (token ?? {}) as Fields;
    if (typeof content === 'string' && special === true) added.set(content, Number(id));
  }
  const sentinels = config['extra_ids'];
  const end = map['eos_token'] ?? config['eos_token'];
  const spelling = typeof end === 'object' && end !== null ? (end as Fields)['content'] : end;
  return {
    added,
    sentinels: typeof sentinels === 'number' && sentinels >= 0 && sentinels <= 10_000 ? sentinels : SENTINELS,
    endToken: typeof spelling === 'string' ? spelling : '</s>',
  };
}

/** @throws TokenizerError for a file that is there and is no JSON object */
async function readObject(dir: string, name: string): Promise<Fields | undefined> {
  const bytes = await readBytes(dir, name);
  if (bytes === undefined) return undefined;
  const file = join(dir, name);
  try {
    const value: unknown = JSON.parse(bytes.toString('utf8'));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields;
  } catch (error) {
    throw new TokenizerError(`${file} is not valid JSON. Download it again.`, { cause: error });
  }
  throw new TokenizerError(`${file} is not a JSON object. Download it again.`);
}

async function readBytes(dir: string, name: string): Promise<Buffer | undefined> {
  try {
    return await readSmall(join(dir, name), MAX_FILE_BYTES);
  } catch (error) {
    if (error instanceof TooLargeError) {
      throw new TokenizerError(`${join(dir, name)} is no part of a tokenizer: ${error.message}. Download it again.`);
    }
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new TokenizerError(`Cannot read ${join(dir, name)}: ${messageOf(error)}. Check its permissions.`, {
      cause: error,
    });
  }
}

function messageOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  // Pieces of a damaged file are part of some messages, which are one line.
  return text.replace(/\p{Cc}+/gu, ' ').replace(/\.$/, '');
}
