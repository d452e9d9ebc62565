/**
 * What a model costs on an engine, row by row: encoding, decoder steps of several forms beside the speed at which the same
 * memory is copied in the same run, the first word, and the device memory of a long request.
 */
import type { Engine } from '../engine/engine';
import { CancelledError } from '../errors';
import { generate } from '../generate/generate';

const ENCODED = [512, 1000, 2048] as const;
/** Source tokens and cached tokens of a step. */
const STEPS_AT = [
  [512, 48],
  [512, 400],
  [2048, 48],
] as const;
/** Rows and tokens a row of one step. */
const FORMS = [
  [1, 1],
  [1, 4],
  [1, 8],
  [4, 1],
  [8, 1],
  [16, 1],
] as const;
const FIRST_WORD_TOKENS = 1000;
/** The longest input that the family was trained on, with the longest answer by default. */
const LONG = { source: 2048, answer: 512 } as const;

export interface TableOptions {
  /** Times that each step is run; the first few do not count. */
  readonly steps: number;
  readonly encodes: number;
  /** Bytes read and written a second in the memory that the weights lie in, where the engine cannot tell itself. */
  readonly copyBytesPerSecond?: number;
  readonly onRow?: (line: string) => void;
  readonly stopped?: () => boolean;
}

interface StepRow {
  readonly source: number;
  readonly cached: number;
  readonly rows: number;
  readonly tokensPerRow: number;
  /** The host's share included. */
  readonly ms: number;
  /** Weights, the source's keys and values, and cached ones: what a step must read once. */
  readonly bytes: number;
  /** Those bytes a second, over the copy's bytes read and written. Absent where no copy was measured. */
  readonly ofCopySpeed?: number;
  readonly timesOne: number;
}

export interface Table {
  readonly copyBytesPerSecond?: number;
  readonly encode: readonly { readonly tokens: number; readonly ms: number }[];
  readonly steps: readonly StepRow[];
  /** `ms` = encoding, two steps, and what is left; the rest is negative where a step costs less than two. */
  readonly firstWord: {
    readonly tokens: number;
    readonly ms: number;
    readonly encodeMs: number;
    readonly stepMs: number;
  };
  /** Held while 2048 source tokens are answered with 512. Absent for engines in main memory. */
  readonly deviceBytes?: number;
}

const WARM_UP = 3;

/** Medians of every row; `onRow` says what comes next. Throws `CancelledError`. */
export async function measureTable(engine: Engine, options: TableOptions): Promise<Table> {
  const next = (what: string) => options.onRow?.(`Measuring ${what}`);
  next('the memory');
  const copyBytesPerSecond = engine.copyBytesPerSecond?.() ?? options.copyBytesPerSecond;
  const encode: { tokens: number; ms: number }[] = [];
  for (const tokens of ENCODED) {
    next(`the encoder with ${tokens} tokens`);
    encode.push({ tokens, ms: await encoding(engine, tokens, options) });
  }
  const steps: StepRow[] = [];
  for (const [source, cached] of STEPS_AT) {
    next(`steps over ${source} source tokens, ${cached} cached`);
    for await (const row of stepsOf(engine, source, cached, copyBytesPerSecond, options)) steps.push(row);
  }
  next('the first word');
  const firstWord = await firstWordOf(engine, options);
  const deviceBytes = await longRequest(engine);
  return {
    ...(copyBytesPerSecond === undefined ? {} : { copyBytesPerSecond }),
    encode,
    steps,
    firstWord,
    ...(deviceBytes === undefined ? {} : { deviceBytes }),
  };
}

/** A table as lines to read. */
export function describeTable({ copyBytesPerSecond, encode, steps, firstWord, deviceBytes }: Table): string[] {
  const rest = firstWord.ms - firstWord.encodeMs - 2 * firstWord.stepMs;
  const lines = [
    ...encode.map(({ tokens, ms }) => `encode ${tokens} tokens: ${ms.toFixed(1)} ms`),
    ...steps.map(describeStep),
    `first word of ${firstWord.tokens} source tokens: ${firstWord.ms.toFixed(1)} ms = encoder ${firstWord.encodeMs.toFixed(1)} + 2 x ${firstWord.stepMs.toFixed(2)} + ${rest.toFixed(1)}`,
  ];
  if (copyBytesPerSecond !== undefined)
    lines.unshift(`copy in this memory: ${(copyBytesPerSecond / 1e9).toFixed(0)} GB/s, bytes read and written`);
  if (deviceBytes !== undefined)
    lines.push(
      `device memory with ${LONG.source} source and ${LONG.answer} new tokens: ${(deviceBytes / 2 ** 30).toFixed(2)} GiB`,
    );
  return lines;
}

function describeStep({ source, cached, rows, tokensPerRow, ms, ofCopySpeed, timesOne }: StepRow): string {
  const share = ofCopySpeed === undefined ? '' : `, ${(100 * ofCopySpeed).toFixed(1)} % of copy speed`;
  return `step, ${source} source, ${cached} cached, ${rows} rows x ${tokensPerRow}: ${ms.toFixed(3)} ms${share}, ${timesOne.toFixed(2)} x one`;
}

async function encoding(engine: Engine, tokens: number, { encodes, stopped }: TableOptions): Promise<number> {
  const ids = ordinaryIds(tokens, engine.config.vocabSize);
  const times: number[] = [];
  for (let i = 0; i <= encodes; i++) {
    const start = performance.now();
    (await engine.encode(ids)).dispose();
    if (i > 0) times.push(performance.now() - start);
    stopIf(stopped);
  }
  return median(times);
}

async function* stepsOf(
  engine: Engine,
  source: number,
  cached: number,
  copyBytesPerSecond: number | undefined,
  { steps, stopped }: TableOptions,
): AsyncGenerator<StepRow> {
  const { config, info } = engine;
  const memory = await engine.encode(ordinaryIds(source, config.vocabSize));
  const tokenBytes = 2 * config.decoderLayers * config.numHeads * config.dKv * info.cachedValueBytes;
  let one = Number.NaN;
  try {
    for (const [rows, tokensPerRow] of FORMS) {
      const decoder = await engine.decoder(memory, rows, cached + tokensPerRow);
      try {
        for (let at = 0; at < cached; at += 8) {
          const count = Math.min(8, cached - at);
          await decoder.step(new Int32Array(rows * count).fill(5), count, { kind: 'argmax' });
        }
        const tokens = new Int32Array(rows * tokensPerRow).fill(5);
        const times: number[] = [];
        for (let i = 0; i < steps + WARM_UP; i++) {
          const start = performance.now();
          await decoder.step(tokens, tokensPerRow, { kind: 'argmax' });
          if (i >= WARM_UP) times.push(performance.now() - start);
          await decoder.truncate(cached);
          stopIf(stopped);
        }
        const ms = median(times);
        if (rows * tokensPerRow === 1) one = ms;
        const bytes = info.stepWeightBytes + tokenBytes * (source + rows * cached);
        const speed = copyBytesPerSecond === undefined ? {} : { ofCopySpeed: bytes / (ms / 1e3) / copyBytesPerSecond };
        yield { source, cached, rows, tokensPerRow, ms, bytes, ...speed, timesOne: ms / one };
      } finally {
        decoder.dispose();
      }
    }
  } finally {
    memory.dispose();
  }
}

async function firstWordOf(engine: Engine, options: TableOptions): Promise<Table['firstWord']> {
  const ids = [...ordinaryIds(FIRST_WORD_TOKENS, engine.config.vocabSize)];
  const encodeMs = await encoding(engine, FIRST_WORD_TOKENS, options);
  const firsts: number[] = [];
  let stepMs = Number.NaN;
  for (let i = 0; i < options.encodes; i++) {
    const { timings } = await generate(engine, ids, { kind: 'greedy', maxNewTokens: 24 });
    firsts.push(timings.firstTokenMs);
    stepMs = timings.msPerToken;
    stopIf(options.stopped);
  }
  return { tokens: FIRST_WORD_TOKENS, ms: median(firsts), encodeMs, stepMs };
}

async function longRequest(engine: Engine): Promise<number | undefined> {
  if (engine.deviceBytes === undefined) return undefined;
  const memory = await engine.encode(ordinaryIds(LONG.source, engine.config.vocabSize));
  try {
    const decoder = await engine.decoder(memory, 1, LONG.answer);
    const bytes = engine.deviceBytes();
    decoder.dispose();
    return bytes;
  } finally {
    memory.dispose();
  }
}

/** Ordinary ids, the same in every run, with the end token last. */
export function ordinaryIds(count: number, vocabSize: number): Int32Array {
  const result = Int32Array.from({ length: count }, (_, i) => 3 + ((i * 7919) % Math.min(20_000, vocabSize - 3)));
  result[count - 1] = 1;
  return result;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export function stopIf(stopped: (() => boolean) | undefined): void {
  if (stopped?.()) throw new CancelledError();
}
