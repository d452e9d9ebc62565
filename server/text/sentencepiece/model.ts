/** Reads a SentencePiece model file: its pieces and how it normalizes. Only what encoding and decoding need. */
import protobuf from 'protobufjs/minimal';

export type PieceType = 'normal' | 'unknown' | 'control' | 'user' | 'unused' | 'byte';

export interface Piece {
  readonly text: string;
  /** Natural logarithm of its probability, float32. */
  readonly score: number;
  readonly type: PieceType;
}

export interface SentencePieceModel {
  readonly kind: 'unigram' | 'bpe' | 'word' | 'char';
  readonly pieces: readonly Piece[];
  readonly byteFallback: boolean;
  /** White space is written behind a word instead of before it. */
  readonly spaceBehind: boolean;
  /** The table of normalizations; empty: none. */
  readonly charsmap: Uint8Array;
  readonly addDummyPrefix: boolean;
  readonly removeExtraSpaces: boolean;
  readonly escapeSpaces: boolean;
}

const KINDS = [undefined, 'unigram', 'bpe', 'word', 'char'] as const;
const TYPES = [undefined, 'normal', 'unknown', 'control', 'user', 'unused', 'byte'] as const;
/** Sixteen times the largest vocabulary in use. */
const MAX_PIECES = 1 << 22;

/** @throws RangeError with a clause, for bytes that are no SentencePiece model */
export function readSentencePieceModel(bytes: Uint8Array): SentencePieceModel {
  try {
    return readModel(bytes);
  } catch (error) {
    // The protobuf reader has errors of several classes.
    const reason = error instanceof Error ? error.message : String(error);
    throw new RangeError(
      reason.startsWith('it ') || reason.startsWith('a score') ? reason : `it is damaged (${reason})`,
      {
        cause: error,
      },
    );
  }
}

function readModel(bytes: Uint8Array): SentencePieceModel {
  const pieces: Piece[] = [];
  let model: Omit<SentencePieceModel, 'pieces'> = {
    kind: 'unigram',
    byteFallback: false,
    spaceBehind: false,
    charsmap: new Uint8Array(0),
    addDummyPrefix: true,
    removeExtraSpaces: true,
    escapeSpaces: true,
  };
  fields(bytes, (field, reader, wire) => {
    if (wire !== 2) return false;
    if (field === 1) {
      if (pieces.length >= MAX_PIECES) throw new RangeError(`it has more than ${MAX_PIECES} pieces`);
      pieces.push(readPiece(reader.bytes()));
    } else if (field === 2) model = { ...model, ...readTrainer(reader.bytes()) };
    else if (field === 3) model = { ...model, ...readNormalizer(reader.bytes()) };
    else return false;
    return true;
  });
  if (pieces.length === 0) throw new RangeError('it has no pieces');
  return { ...model, pieces };
}

function readPiece(bytes: Uint8Array): Piece {
  let text = '';
  let score = 0;
  let type: PieceType = 'normal';
  fields(bytes, (field, reader, wire) => {
    if (field === 1 && wire === 2) text = reader.string();
    else if (field === 2 && wire === 5) score = reader.float();
    else if (field === 3 && wire === 0) type = TYPES[reader.int32()] ?? 'normal';
    else return false;
    return true;
  });
  if (!Number.isFinite(score)) throw new RangeError('a score of it is no number');
  return { text, score, type };
}

function readTrainer(bytes: Uint8Array): Pick<SentencePieceModel, 'kind' | 'byteFallback' | 'spaceBehind'> {
  let kind: SentencePieceModel['kind'] = 'unigram';
  let byteFallback = false;
  let spaceBehind = false;
  fields(bytes, (field, reader, wire) => {
    if (wire !== 0) return false;
    if (field === 3) kind = KINDS[reader.int32()] ?? 'unigram';
    else if (field === 24) spaceBehind = reader.bool();
    else if (field === 35) byteFallback = reader.bool();
    else return false;
    return true;
  });
  return { kind, byteFallback, spaceBehind };
}

function readNormalizer(
  bytes: Uint8Array,
): Pick<SentencePieceModel, 'charsmap' | 'addDummyPrefix' | 'removeExtraSpaces' | 'escapeSpaces'> {
  let charsmap = new Uint8Array(0);
  let [addDummyPrefix, removeExtraSpaces, escapeSpaces] = [true, true, true];
  fields(bytes, (field, reader, wire) => {
    if (field === 2 && wire === 2) charsmap = Uint8Array.from(reader.bytes());
    else if (field === 3 && wire === 0) addDummyPrefix = reader.bool();
    else if (field === 4 && wire === 0) removeExtraSpaces = reader.bool();
    else if (field === 5 && wire === 0) escapeSpaces = reader.bool();
    else return false;
    return true;
  });
  return { charsmap, addDummyPrefix, removeExtraSpaces, escapeSpaces };
}

/** Calls `read` for each field of a message; where it returns false, the field is skipped. */
function fields(bytes: Uint8Array, read: (field: number, reader: protobuf.Reader, wire: number) => boolean): void {
  const reader = protobuf.Reader.create(bytes);
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (!read(tag >>> 3, reader, tag & 7)) reader.skipType(tag & 7);
  }
}
