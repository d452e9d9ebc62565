/** The command line and processes: Ctrl-C, and a server that stops, hangs or is killed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunResult } from '../../server/protocol';
import { isAlive } from '../../server/rpc/lock';
import { CODE, ENDLESS, homeWithFiles, json } from './cli_home';
import { finished, Home, until } from './harness';

let home: Home;
beforeAll(() => {
  home = homeWithFiles();
});
afterAll(() => home.cleanup());

describe.skipIf(process.platform === 'win32')('Ctrl-C', () => {
  it('stops at the next token and exits cleanly with what there is', async () => {
    const child = home.start(ENDLESS);
    const done = finished(child);
    let length = 0;
    child.stdout.on('data', (text: string) => {
      length += text.length;
    });
    expect(await until(() => length > 20)).toBe(true);
    const at = performance.now();
    child.kill('SIGINT');
    const ran = await done;
    expect(performance.now() - at).toBeLessThan(2000);
    expect(ran.code).toBe(0);
    expect(ran.stdout.length).toBeGreaterThan(20);
    expect(ran.stdout.endsWith('\n')).toBe(true);
    expect(ran.stderr).toMatch(/^Stopped\.$/m);
    expect(home.pid !== undefined && isAlive(home.pid)).toBe(true);
  });

  it('with --json prints the cancelled object', async () => {
    const child = home.start([...ENDLESS, '--json']);
    const done = finished(child);
    expect(
      await until(
        async () => json<{ state?: string }>((await home.flan(['status', '--json'])).stdout).state === 'busy',
      ),
    ).toBe(true);
    child.kill('SIGINT');
    const ran = await done;
    expect(ran.code).toBe(0);
    expect(json<RunResult>(ran.stdout).finishReason).toBe('cancelled');
  });

  it('a second time ends the program, even when the server hangs', async () => {
    await home.flan(['explain', 'add.py']);
    const { pid } = home;
    if (pid === undefined) throw new Error('no server');
    const child = home.start(ENDLESS);
    const done = finished(child);
    let length = 0;
    child.stdout.on('data', (text: string) => {
      length += text.length;
    });
    expect(await until(() => length > 0)).toBe(true);
    process.kill(pid, 'SIGSTOP');
    try {
      child.kill('SIGINT');
      await new Promise((resolve) => setTimeout(resolve, 300));
      expect(child.exitCode).toBeNull();
      child.kill('SIGINT');
      expect((await done).code).toBe(130);
    } finally {
      process.kill(pid, 'SIGCONT');
    }
  });
});

describe('the server', () => {
  it('is asked about and stopped; neither starts one', async () => {
    const own = Home.create();
    try {
      expect(json(await own.flan(['status', '--json']).then((ran) => ran.stdout))).toEqual({ running: false });
      expect((await own.flan(['status'])).stdout).toMatch(/No server/);
      expect((await own.flan(['stop'])).stdout).toMatch(/No server/);
      expect((await own.flan(['models'])).code).toBe(0);
      expect(own.pid).toBeUndefined();
      await own.flan(['explain', '-'], { input: CODE });
      const { pid } = own;
      const status = json<{ pid: number }>((await own.flan(['status', '--json'])).stdout);
      expect(status).toMatchObject({ running: true, pid, state: 'ready', clients: 0, model: 'starter' });
      expect((await own.flan(['status'])).stdout).toMatch(/Loaded: starter/);
      const stopped = await own.flan(['stop', '--json']);
      expect(json(stopped.stdout)).toEqual({ stopped: true, pid });
      expect(isAlive(status.pid)).toBe(false);
      expect(json((await own.flan(['stop', '--json'])).stdout)).toEqual({ stopped: false });
    } finally {
      await own.cleanup();
    }
  });

  it('stays as long as FLAN_LINGER says, and says so when it says nothing', async () => {
    const own = Home.create();
    try {
      const short = await own.flan(['explain', '-'], { input: CODE, env: { FLAN_LINGER: '0' } });
      expect(short.code).toBe(0);
      expect(await until(() => own.pid === undefined)).toBe(true);
      const wrong = await own.flan(['explain', '-'], { input: CODE, env: { FLAN_LINGER: 'long' } });
      expect(wrong).toMatchObject({ code: 1, stdout: '' });
      expect(wrong.stderr).toMatch(/^flan: [^\n]*--linger[^\n]*long[^\n]*\n$/);
    } finally {
      await own.cleanup();
    }
  });

  it.skipIf(process.platform === 'win32')('is named with its process when it hangs', async () => {
    await home.flan(['explain', 'add.py']);
    const { pid } = home;
    if (pid === undefined) throw new Error('no server');
    process.kill(pid, 'SIGSTOP');
    try {
      const ran = await home.flan(['explain', 'add.py']);
      expect(ran).toMatchObject({ code: 1, stdout: '' });
      expect(ran.stderr).toMatch(new RegExp(`process ${pid}.*does not answer`));
    } finally {
      process.kill(pid, 'SIGCONT');
    }
    expect((await home.flan(['explain', 'add.py'])).code).toBe(0);
  });

  it.skipIf(process.platform === 'win32')(
    'is missed by name when it is killed in the middle, and the next command starts another',
    async () => {
      const child = home.start(ENDLESS);
      const done = finished(child);
      let length = 0;
      child.stdout.on('data', (text: string) => {
        length += text.length;
      });
      expect(await until(() => length > 0)).toBe(true);
      const { pid } = home;
      if (pid === undefined) throw new Error('no server');
      process.kill(pid, 'SIGKILL');
      const ran = await done;
      expect(ran.code).toBe(1);
      expect(ran.stderr).toMatch(/flan: The flan server ended before it answered.*server\.log\n$/);
      const next = await home.flan(['explain', 'add.py']);
      expect(next.code).toBe(0);
      expect(home.pid).not.toBe(pid);
    },
  );
});
