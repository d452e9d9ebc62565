/** The result of a run that was cancelled before the model read anything: complete in form, with no word in it. */
import type { RunParams, RunResult } from '../protocol';
import type { Loaded } from './messages';

export function cancelledResult(params: RunParams, loaded: Loaded | undefined): RunResult {
  const fromLine = params.firstLine ?? 1;
  const lastLine = params.lastLine ?? fromLine + params.text.split('\n').length - 1;
  return {
    text: '',
    ids: [],
    promptIds: [],
    finishReason: 'cancelled',
    engine: loaded?.engine ?? params.engine ?? 'auto',
    device: loaded?.device ?? '',
    model: loaded?.model ?? params.model ?? '',
    weights: loaded?.weights ?? params.weights ?? 'int8',
    timings: { loadMs: 0, encodeMs: 0, firstTokenMs: 0, msPerToken: 0 },
    // No line was read: the end lies before the start.
    read: { complete: false, fromLine, toLine: fromLine - 1, lastLine, promptTokens: 0, window: 0 },
    substitutions: [],
    unanswerable: false,
    demo: loaded?.demo ?? false,
  };
}
