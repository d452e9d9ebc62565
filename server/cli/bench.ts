/**
 * bench: how fast a model is here. In this process, so that nothing else is measured: loading, encoding, each token; on
 * the cpu also float32 in the same run; and the floor beside them, the time that reading the weights of a step takes at
 * the memory's measured copy bandwidth.
 */

import type { Engine, EngineInfo } from '../engine/engine';
import { UsageError } from '../errors';
import { flanPaths, type Paths } from '../paths';
import type { EngineChoice, WeightChoice } from '../protocol';
import { loadModel } from '../runtime/load';
import { type ModelFolder, modelFolders } from '../runtime/models';
import { describeTable, measureTable, median, ordinaryIds, stopIf, type Table } from './bench_table';
import { interrupt } from './interrupt';
import { type Command, modelChoice, optionalNumber } from './options';
import type { Output } from './output';

const SOURCE_TOKENS = 256;
const NEW_TOKENS = 64;
/** The first runs fault pages in and let the processor reach its speed. */
const WARM_UP_STEPS = 4;
const ENCODES = 3;
const TABLE_STEPS = 20;
/** Larger than any last-level cache, so that main memory is measured. */
const COPY_BYTES = 512 * 1024 * 1024;
const COPIES = 5;

interface Measured {
  readonly engine: string;
  readonly device: string;
  readonly weights: WeightChoice;
  readonly loadMs: number;
  readonly encodeMs: number;
  readonly msPerToken: number;
  readonly tokensPerSecond: number;
  /** Bytes of weights that one step reads. */
  readonly stepWeightBytes: number;
  /** Only on the cpu: those bytes at the copy bandwidth, and how many times that a step takes. */
  readonly floorMs?: number;
  readonly timesFloor?: number;
  /** With `--table`. */
  readonly table?: Table;
}

export interface BenchReport {
  readonly model: string;
  readonly sourceTokens: number;
  readonly newTokens: number;
  /** Bytes read plus bytes written, per second, of a large copy. */
  readonly copyBytesPerSecond: number;
  readonly runs: readonly Measured[];
}

export async function bench(command: Command, output: Output): Promise<void> {
  if (command.positionals.length > 0)
    throw new UsageError('bench takes no arguments but options. See: flan bench --help');
  const { model, engine = 'auto', weights } = modelChoice(command);
  const sourceTokens = optionalNumber(command, 'source-tokens', { min: 1, max: 4096, integer: true }) ?? SOURCE_TOKENS;
  const newTokens = optionalNumber(command, 'new-tokens', { min: 2, max: 4096, integer: true }) ?? NEW_TOKENS;
  const paths = flanPaths();
  const stop = interrupt();
  const stopped = () => stop.token.isCancellationRequested;
  try {
    const folders = await modelFolders(paths, model);
    output.progress('Measuring the memory');
    const copyBytesPerSecond = copyBandwidth();
    const table = command.has('table');
    const request = { folders, sourceTokens, newTokens, table, copyBytesPerSecond, paths, output, stopped };
    const run = (choice: EngineChoice, format: WeightChoice) => measure({ ...request, choice, format });
    const first = await run(engine, weights ?? 'int8');
    const runs = [first.measured];
    // float32 is the reference to judge int8 by; both in one run, or the machine's mood decides.
    if (weights === undefined && !table && first.measured.engine === 'cpu')
      runs.push((await run('cpu', 'fp32')).measured);
    const report: BenchReport = { model: first.model, sourceTokens, newTokens, copyBytesPerSecond, runs };
    if (command.json) output.json(report);
    else output.lines(describe(report));
  } finally {
    stop.dispose();
  }
}

interface MeasureRequest {
  readonly folders: readonly ModelFolder[];
  readonly choice: EngineChoice;
  readonly format: WeightChoice;
  readonly sourceTokens: number;
  readonly newTokens: number;
  readonly table: boolean;
  readonly copyBytesPerSecond: number;
  readonly paths: Paths;
  readonly output: Output;
  readonly stopped: () => boolean;
}

async function measure(request: MeasureRequest): Promise<{ readonly model: string; readonly measured: Measured }> {
  const { folders, choice, format, sourceTokens, newTokens, copyBytesPerSecond, paths, output, stopped } = request;
  const signal = {
    get stopped() {
      return stopped();
    },
  };
  const { model } = await loadModel({
    folders,
    engine: choice,
    weights: format,
    cacheDir: paths.cache,
    signal,
    onProgress: (progress) => {
      if (progress.kind === 'loading') output.progress(`${progress.message} (${format})`, progress.fraction);
    },
  });
  const { engine } = model;
  try {
    output.progress(`Measuring ${model.name} (${format}) on ${engine.info.device}`);
    const source = ordinaryIds(sourceTokens, engine.config.vocabSize);
    const { encodeMs, msPerToken } = await times(engine, source, newTokens, stopped);
    const { info } = engine;
    const measured: Measured = {
      engine: info.engine,
      device: info.device,
      weights: format,
      loadMs: model.loadMs,
      encodeMs,
      msPerToken,
      tokensPerSecond: 1000 / msPerToken,
      stepWeightBytes: info.stepWeightBytes,
      ...floor(info, msPerToken, copyBytesPerSecond),
      ...(request.table ? { table: await tableOf(engine, request) } : {}),
    };
    return { model: model.name, measured };
  } finally {
    await engine.dispose();
  }
}

async function tableOf(engine: Engine, { copyBytesPerSecond, output, stopped }: MeasureRequest): Promise<Table> {
  const onRow = (line: string) => output.progress(line);
  const inMainMemory = engine.info.engine === 'cpu' ? { copyBytesPerSecond } : {};
  return measureTable(engine, { steps: TABLE_STEPS, encodes: ENCODES, ...inMainMemory, onRow, stopped });
}

/** Medians, in milliseconds. The end token is fed like any other, so that every model writes as many tokens. */
async function times(engine: Engine, source: Int32Array, newTokens: number, stopped: () => boolean) {
  const encodes: number[] = [];
  for (let i = 0; i < ENCODES; i++) {
    const start = performance.now();
    const memory = await engine.encode(source);
    encodes.push(performance.now() - start);
    memory.dispose();
    stopIf(stopped);
  }
  const memory = await engine.encode(source);
  const decoder = await engine.decoder(memory, 1, newTokens + WARM_UP_STEPS);
  const steps: number[] = [];
  try {
    let token = engine.config.decoderStartId;
    for (let i = 0; i < newTokens + WARM_UP_STEPS; i++) {
      const start = performance.now();
      const picked = await decoder.step(Int32Array.of(token), 1, { kind: 'argmax' });
      if (i >= WARM_UP_STEPS) steps.push(performance.now() - start);
      token = picked.ids[0] ?? engine.config.decoderStartId;
      stopIf(stopped);
    }
  } finally {
    decoder.dispose();
    memory.dispose();
  }
  return { encodeMs: median(encodes), msPerToken: median(steps) };
}

/** A graphics card reads its own memory; the floor of main memory says nothing about it. */
function floor(info: EngineInfo, msPerToken: number, copyBytesPerSecond: number): Partial<Measured> {
  if (info.engine !== 'cpu') return {};
  const floorMs = (info.stepWeightBytes / copyBytesPerSecond) * 1000;
  return { floorMs, timesFloor: msPerToken / floorMs };
}

/** A copy reads and writes each byte: both count. The best of several, since other programs only ever take away. */
function copyBandwidth(): number {
  const from = Buffer.alloc(COPY_BYTES / 2, 1);
  const to = Buffer.alloc(COPY_BYTES / 2, 2);
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < COPIES; i++) {
    const start = performance.now();
    from.copy(to);
    best = Math.min(best, performance.now() - start);
  }
  return (COPY_BYTES / best) * 1000;
}

function describe(report: BenchReport): string[] {
  const { model, sourceTokens, newTokens, copyBytesPerSecond, runs } = report;
  const lines = [
    `${model}, ${sourceTokens} source tokens, ${newTokens} new tokens; memory copy ${(copyBytesPerSecond / 1e9).toFixed(1)} GB/s`,
  ];
  for (const run of runs) {
    lines.push(
      `${run.weights} on ${run.device}: load ${run.loadMs.toFixed(0)} ms, encode ${run.encodeMs.toFixed(1)} ms, ` +
        `${run.msPerToken.toFixed(2)} ms a token (${run.tokensPerSecond.toFixed(0)} tokens/s)`,
    );
    if (run.floorMs !== undefined && run.timesFloor !== undefined) {
      lines.push(
        `  ${(run.stepWeightBytes / 1e6).toFixed(0)} MB of weights a token: floor ${run.floorMs.toFixed(2)} ms, ${run.timesFloor.toFixed(1)} times the floor`,
      );
    }
    if (run.table !== undefined) lines.push(...describeTable(run.table).map((line) => `  ${line}`));
  }
  const [int8, fp32] = runs;
  if (int8 !== undefined && fp32 !== undefined) {
    lines.push(`int8 is ${(fp32.msPerToken / int8.msPerToken).toFixed(2)} times as fast as fp32 a token`);
  }
  return lines;
}
