import { describe, expect, it } from 'vitest';
import type { RunResult } from '../../../server/protocol';
import { deviceName, footerLines, formatSeconds } from '../../../src/footer';

const t = (message: string, ...args: (string | number)[]): string =>
  message.replace(/\{(\d+)\}/g, (_, index) => String(args[Number(index)]));

const complete: RunResult = {
  text: 'Adds two numbers.',
  ids: [],
  promptIds: [],
  finishReason: 'stop',
  engine: 'cpu',
  device: 'CPU (2 threads)',
  model: 'starter',
  weights: 'int8',
  timings: { loadMs: 0, encodeMs: 1, firstTokenMs: 2, msPerToken: 3 },
  read: { complete: true, fromLine: 1, toLine: 9, lastLine: 9, promptTokens: 64, window: 2048 },
  substitutions: [],
  unanswerable: false,
  demo: true,
};

describe('the lines under an answer', () => {
  it('are one line when all went well', () => {
    expect(footerLines(complete, 1.234, t)).toEqual(['starter · CPU (2 threads) · 1.2 s']);
  });

  it('count the threads of a processor in the language of the editor', () => {
    const chinese = (message: string, ...args: (string | number)[]) =>
      t(message === '{0} ({1} threads)' ? '{0}（{1} 个线程）' : message, ...args);
    expect(footerLines(complete, 1, chinese)).toEqual(['starter · CPU（2 个线程） · 1.0 s']);
    expect(deviceName('NVIDIA H100 (80 GB)', chinese)).toBe('NVIDIA H100 (80 GB)');
    expect(deviceName('CPU X (1 thread)', t)).toBe('CPU X (1 thread)');
  });

  it('do not mention white space that was read as a space', () => {
    const substitutions = [
      { char: '\n', as: ' ', count: 9 },
      { char: '\t', as: ' ', count: 2 },
    ];
    expect(footerLines({ ...complete, substitutions }, 1, t)).toHaveLength(1);
  });

  it('say what was read otherwise, and what was lost', () => {
    const substitutions = [
      { char: '→', as: '->', count: 1 },
      { char: '你', as: null, count: 1 },
      { char: '\u0007', as: null, count: 1 },
    ];
    expect(footerLines({ ...complete, substitutions }, 1, t)[1]).toBe(
      'The model read other characters for some: → as ->. The model could not read these characters: 你, U+0007.',
    );
  });

  it('list a few of many characters', () => {
    const substitutions = [...'一二三四五六七八九十'].map((char) => ({ char, as: null, count: 1 }));
    expect(footerLines({ ...complete, substitutions }, 1, t)[1]).toMatch(/: 一, 二, 三, 四, 五, 六, 七, 八, …\.$/);
  });

  it('say which part was read', () => {
    const read = { ...complete.read, complete: false, fromLine: 4, toLine: 80, lastLine: 120 };
    expect(footerLines({ ...complete, read }, 1, t)[1]).toMatch(/^Only lines 4 to 80 of 120 were read: .* 2048 /);
  });

  it('tell an answer that was stopped, cut off, or ended for repeating itself', () => {
    expect(footerLines({ ...complete, finishReason: 'cancelled' }, 1, t)[0]).toMatch(/ · stopped$/);
    expect(footerLines({ ...complete, finishReason: 'length' }, 1, t)[1]).toMatch(/cut off.*flan\.maxNewTokens/);
    const repeated = footerLines({ ...complete, finishReason: 'length', repeated: true }, 1, t);
    expect(repeated[1]).toMatch(/repeated itself/);
    expect(repeated).toHaveLength(2);
  });
});

it('seconds have a digit more while they are few', () => {
  expect([0.04, 9.94, 12.6].map(formatSeconds)).toEqual(['0.0', '9.9', '13']);
});
