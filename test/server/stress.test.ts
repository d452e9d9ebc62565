/** Many clients that come, ask, cancel and go without a word: the server outlives them and forgets them. */

import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { CancellationTokenSource } from 'vscode-jsonrpc';
import { Method, type RunParams } from '../../server/protocol';
import { isConnectionError } from '../../server/rpc/errors';
import { type Client, Home, until } from './harness';

const ROUNDS = 60;
const ask: RunParams = {
  task: 'generate',
  text: 'Tell about the sea.',
  model: 'starter',
  engine: 'cpu',
  maxNewTokens: 12,
};

let home: Home;
let witness: Client;
beforeAll(async () => {
  home = Home.create();
  witness = await home.client();
  await witness.run(ask);
});
afterAll(() => home.cleanup());

/** The same sequence in every run (mulberry32). */
function dice(seed: number): (sides: number) => number {
  let state = seed;
  return (sides) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % sides;
  };
}

describe('a server under rude clients', () => {
  it('answers every client that waits, and ends with nothing queued and nobody counted', async () => {
    const roll = dice(3);
    const outcomes: Promise<string>[] = [];
    for (let round = 0; round < ROUNDS; round++) {
      const client = await home.client();
      const requests = 1 + roll(3);
      const sources = Array.from({ length: requests }, () => new CancellationTokenSource());
      const answers = sources.map((source, i) => {
        const answer = client.run({ ...ask, text: `${ask.text} ${round} ${i}` }, () => {}, source.token);
        return answer.then(
          (result) => result.finishReason,
          // Whatever a broken socket says is one outcome; an answer that is an error would be another.
          (error: unknown) => (isConnectionError(error) ? 'gone' : String(error)),
        );
      });
      outcomes.push(...answers);
      switch (roll(5)) {
        case 0:
          client.close();
          break;
        case 1:
          client.connection.socket.write('Content-Length: nonsense\r\n\r\n');
          break;
        case 2:
          for (const source of sources) source.cancel();
          break;
        case 3:
          // Half a message, then silence and the end.
          client.connection.socket.write('Content-Length: 500\r\n\r\n{"jsonrpc":');
          setTimeout(() => client.close(), roll(30));
          break;
        default:
          void Promise.all(answers).then(() => client.rpc.sendNotification('exit').catch(() => {}));
      }
      if (roll(3) === 0) await witness.status();
    }
    const ends = await Promise.all(outcomes);
    expect(ends.filter((end) => !['stop', 'length', 'cancelled', 'gone'].includes(end))).toEqual([]);
    expect(ends).toContain('cancelled');
    expect(ends).toContain('gone');
    expect(await until(async () => (await witness.status()).queued === 0)).toBe(true);
    expect(await until(async () => (await witness.status()).state === 'ready')).toBe(true);
    const status = await witness.request<{ pid: number }>(Method.status);
    expect(status.pid).toBe(home.pid);
    expect(home.log).not.toMatch(/uncaught/);
    const result = await witness.run(ask);
    expect(['stop', 'length']).toContain(result.finishReason);
  });
});
