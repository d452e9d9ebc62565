/**
 * The generation loop's front door: a prompt in, new tokens out, by greedy choice, sampling or beam search. Written
 * against the Engine interface only.
 */
import type { Engine, Memory, StopSignal } from '../engine/engine';
import { CancelledError } from '../errors';
import { beamSearch } from './beam';
import type { ResolvedDecoding } from './decoding';
import { singleRow } from './single';
import { speculate } from './speculation';

export type FinishReason = 'stop' | 'length' | 'cancelled' | 'guard';

/** Looks at all new tokens so far; true ends the answer after the last of them, with finish reason `guard`. */
export type Guard = (ids: readonly number[]) => boolean;

export interface GenerateOptions {
  readonly signal?: StopSignal | undefined;
  /** Called with each new run of tokens (one, or several when a draft was right), the end token included. Beam search calls it once, at its end. */
  readonly onTokens?: ((ids: readonly number[]) => void) | undefined;
  /** Most tokens drafted from the source per step; 0 switches speculation off. Only for greedy. Never changes the result. */
  readonly draft?: number | undefined;
  readonly guard?: Guard | undefined;
}

export interface Generated {
  /** New tokens, without the start token; with the end token if it came. */
  readonly ids: number[];
  readonly finishReason: FinishReason;
  /** Log-probability of `ids` under the model, natural, temperature 1. */
  readonly logprob: number;
  readonly timings: { readonly encodeMs: number; readonly firstTokenMs: number; readonly msPerToken: number };
  /** Decoder steps that were run: fewer than tokens where drafts were right. */
  readonly steps: number;
}

/** What one strategy returns to `generate`, which adds the timings. */
export interface Decoded {
  readonly ids: number[];
  readonly finishReason: FinishReason;
  readonly logprob: number;
  readonly steps: number;
}

/** What every strategy works on. */
export interface DecodeContext {
  readonly engine: Engine;
  readonly memory: Memory;
  readonly promptIds: readonly number[];
  readonly signal: StopSignal;
  /** Reports accepted tokens; the first call fixes the time to the first token. */
  readonly emit: (ids: readonly number[]) => void;
  readonly guard: Guard | undefined;
}

const NEVER: StopSignal = { stopped: false };

/**
 * Encodes `promptIds` (end token included) and writes until the end token, the limit, or the stop signal, which is
 * looked at between encoder and decoder and between steps. A cancelled run resolves with the tokens so far.
 */
export async function generate(
  engine: Engine,
  promptIds: readonly number[],
  decoding: ResolvedDecoding,
  options: GenerateOptions = {},
): Promise<Generated> {
  const signal = options.signal ?? NEVER;
  const start = performance.now();
  let memory: Memory;
  try {
    if (signal.stopped) throw new CancelledError();
    memory = await engine.encode(Int32Array.from(promptIds), signal);
  } catch (error) {
    if (!(error instanceof CancelledError)) throw error;
    return {
      ids: [],
      finishReason: 'cancelled',
      logprob: 0,
      steps: 0,
      timings: { encodeMs: performance.now() - start, firstTokenMs: 0, msPerToken: 0 },
    };
  }
  const encodeMs = performance.now() - start;
  try {
    return await generateFrom(engine, memory, promptIds, decoding, options, encodeMs);
  } finally {
    memory.dispose();
  }
}

/** As `generate`, over a memory that is kept by the caller: another answer to the same prompt costs no encoding. */
export async function generateFrom(
  engine: Engine,
  memory: Memory,
  promptIds: readonly number[],
  decoding: ResolvedDecoding,
  options: GenerateOptions = {},
  encodeMs = 0,
): Promise<Generated> {
  const start = performance.now();
  let first = 0;
  let firstCount = 0;
  let last = start;
  const context: DecodeContext = {
    engine,
    memory,
    promptIds,
    signal: options.signal ?? NEVER,
    guard: options.guard,
    emit: (ids) => {
      last = performance.now();
      if (first === 0) {
        first = last;
        firstCount = ids.length;
      }
      options.onTokens?.(ids);
    },
  };
  const decoded = await decode(context, decoding, options.draft ?? 0);
  const count = decoded.ids.length;
  // Beams arrive all at once, so their time per token is the whole search spread over the answer.
  const later = count - firstCount;
  const msPerToken = later > 0 ? (last - first) / later : count > 0 ? (last - start) / count : 0;
  return {
    ...decoded,
    timings: { encodeMs, firstTokenMs: first === 0 ? 0 : encodeMs + (first - start), msPerToken },
  };
}

function decode(context: DecodeContext, decoding: ResolvedDecoding, draft: number): Promise<Decoded> {
  if (decoding.kind === 'beam') return beamSearch(context, decoding.beams, decoding.maxNewTokens);
  if (decoding.kind === 'greedy' && draft > 0) return speculate(context, decoding.maxNewTokens, draft);
  return singleRow(context, decoding);
}
