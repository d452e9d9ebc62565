/** The life of the server process: one per home, started by whoever comes first, gone when nobody needs it. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connect, connectIfRunning } from '../../server/connect';
import { createFolders, flanPaths, socketAddress } from '../../server/paths';
import { Method, PROTOCOL } from '../../server/protocol';
import { readInfo } from '../../server/rpc/dial';
import { isAlive } from '../../server/rpc/lock';
import { Home, SERVER, until } from './harness';

let home: Home;
beforeEach(() => {
  home = Home.create();
});
afterEach(() => home.cleanup());

describe('one server per user', () => {
  it('serves two clients from one process, and answers who it is', async () => {
    const first = await home.client();
    const second = await home.client();
    expect(first.connection.started).toBe(true);
    expect(second.connection.started).toBe(false);
    expect(second.connection.pid).toBe(first.connection.pid);
    const status = await second.status();
    expect(status).toMatchObject({ pid: first.connection.pid, state: 'idle', clients: 2, queued: 0 });
    expect(await until(() => first.statuses.at(-1)?.clients === 2)).toBe(true);
    second.close();
    expect(await until(() => first.statuses.at(-1)?.clients === 1)).toBe(true);
  });

  it('is started once by five clients at the same time', async () => {
    const clients = await Promise.all(Array.from({ length: 5 }, () => home.client()));
    expect(new Set(clients.map((client) => client.connection.pid)).size).toBe(1);
    const statuses = await Promise.all(clients.map((client) => client.status()));
    expect(new Set(statuses.map((status) => status.pid)).size).toBe(1);
    expect(home.log.match(/listening on/g)).toHaveLength(1);
  });

  it('is started anew after kill -9, over the socket, token and info that the dead one left', async () => {
    const first = await home.client();
    const { pid, token } = first.connection;
    process.kill(pid, 'SIGKILL');
    expect(await until(() => !isAlive(pid) && first.closed)).toBe(true);
    expect(existsSync(home.paths.token)).toBe(true);
    const second = await home.client();
    expect(second.connection.pid).not.toBe(pid);
    expect(second.connection.token).not.toBe(token);
    expect((await second.status()).pid).toBe(second.connection.pid);
  });

  it('breaks the lock of a dead process and an old lock of a living one', async () => {
    const dead = spawn(process.execPath, ['-e', '']);
    await new Promise((resolve) => dead.once('exit', resolve));
    createFolders(home.paths);
    writeFileSync(home.paths.lock, `${dead.pid} someone\n`);
    const first = await home.client();
    await first.request(Method.stop);
    expect(await until(() => !isAlive(first.connection.pid))).toBe(true);

    // A process id that was given to another program since: only the age tells.
    writeFileSync(home.paths.lock, `${process.pid} someone\n`);
    const old = Date.now() / 1000 - 3600;
    utimesSync(home.paths.lock, old, old);
    const second = await home.client();
    expect((await second.status()).pid).toBe(second.connection.pid);
    expect(existsSync(home.paths.lock)).toBe(false);
  });
});

describe('after an update', () => {
  /** The same server with other bytes in its files. */
  const otherBuild = () => {
    const dist = join(home.paths.home, 'dist');
    mkdirSync(dist);
    for (const name of ['server.js', 'worker.js']) {
      writeFileSync(join(dist, name), `${readFileSync(join(dirname(SERVER), name), 'utf8')}\n// another build\n`);
    }
    return join(dist, 'server.js');
  };

  it('replaces a server of another build that nobody uses', async () => {
    const old = await home.client(60, otherBuild());
    old.close();
    expect(await until(() => home.log.includes('left'))).toBe(true);
    const next = await home.client();
    expect(next.connection).toMatchObject({ started: true });
    expect(next.connection.pid).not.toBe(old.connection.pid);
    expect(isAlive(old.connection.pid)).toBe(false);
    const again = await home.client();
    expect(again.connection.pid).toBe(next.connection.pid);
  });

  it('uses a server of another build that others use', async () => {
    const old = await home.client(60, otherBuild());
    const next = await home.client();
    expect(next.connection.pid).toBe(old.connection.pid);
    expect((await old.status()).clients).toBe(2);
  });

  it('leaves the server alone without its token', async () => {
    const client = await home.raw();
    await expect(client.request(Method.replace, { token: 'none' })).rejects.toMatchObject({
      data: { code: 'wrong-token' },
    });
    await client.initialize();
    expect(await (await home.raw()).request(Method.replace, { token: client.connection.token })).toBe(false);
    expect((await client.status()).clients).toBe(1);
  });
});

describe('who may talk', () => {
  it('refuses a wrong token and another protocol by name, and closes', async () => {
    const wrong = await home.raw();
    await expect(wrong.initialize({ ...wrong.connection.hello, token: 'a'.repeat(64) })).rejects.toMatchObject({
      data: { code: 'wrong-token' },
    });
    expect(await until(() => wrong.closed)).toBe(true);
    const none = await home.raw();
    await expect(none.initialize(null)).rejects.toMatchObject({ data: { code: 'wrong-token' } });
    const other = await home.raw();
    await expect(other.initialize({ ...other.connection.hello, protocol: PROTOCOL + 1 })).rejects.toMatchObject({
      data: { code: 'wrong-protocol' },
    });
    expect(await until(() => other.closed)).toBe(true);
  });

  it('answers nothing before initialize', async () => {
    const client = await home.raw();
    await expect(client.status()).rejects.toMatchObject({ data: { code: 'not-initialized' } });
    await expect(client.request(Method.stop)).rejects.toMatchObject({ data: { code: 'not-initialized' } });
    await client.initialize();
    expect((await client.status()).pid).toBe(client.connection.pid);
  });

  it.skipIf(process.platform === 'win32')('keeps folder, token and info to the user', async () => {
    await home.client();
    const mode = (path: string) => statSync(path).mode & 0o777;
    expect(mode(home.paths.run)).toBe(0o700);
    expect(mode(home.paths.token)).toBe(0o600);
    expect(mode(home.paths.info)).toBe(0o600);
    expect(readFileSync(home.paths.token, 'utf8')).toMatch(/^[0-9a-f]{64}$/);
  });
});

describe('leaving', () => {
  it('ends a linger time after its last client, not before', async () => {
    const client = await home.client(1);
    const { pid } = client.connection;
    const other = await home.client();
    client.close();
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(isAlive(pid)).toBe(true);
    const left = Date.now();
    other.close();
    expect(await until(() => !isAlive(pid))).toBe(true);
    expect(Date.now() - left).toBeGreaterThan(900);
    expect(existsSync(home.paths.info)).toBe(false);
    expect(existsSync(home.paths.token)).toBe(false);
  });

  it('stays when a client comes back in time', async () => {
    const client = await home.client(1);
    client.close();
    await new Promise((resolve) => setTimeout(resolve, 300));
    const back = await home.client();
    expect(back.connection.pid).toBe(client.connection.pid);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect((await back.status()).clients).toBe(1);
  });

  it('ends at once on flan/stop, for all clients', async () => {
    const [first, second] = [await home.client(), await home.client()];
    expect(await first.request(Method.stop)).toBeNull();
    expect(await until(() => first.closed && second.closed && !isAlive(first.connection.pid))).toBe(true);
    expect(await connectIfRunning({ home: home.paths.home, client: 'test' })).toBeUndefined();
  });

  it.skipIf(process.platform === 'win32')('ends cleanly on SIGTERM', async () => {
    const client = await home.client();
    process.kill(client.connection.pid, 'SIGTERM');
    expect(await until(() => !isAlive(client.connection.pid))).toBe(true);
    expect(existsSync(home.paths.info)).toBe(false);
    expect(home.log).toContain('leaving: SIGTERM');
  });

  it('takes exit of one client as the end of that connection only', async () => {
    const [first, second] = [await home.client(), await home.client()];
    await first.request('shutdown');
    await first.rpc.sendNotification('exit');
    expect(await until(() => first.closed)).toBe(true);
    expect(await until(async () => (await second.status()).clients === 1)).toBe(true);
  });
});

describe('bad messages', () => {
  const raw = (bytes: string | Buffer) =>
    new Promise<void>((resolve) => {
      const socket = createConnection(readInfo(home.paths)?.socket ?? '', () => socket.write(bytes));
      socket.on('error', () => {});
      socket.once('close', () => resolve());
    });
  const frame = (body: string) => `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;

  it('closes the connection that sends them, and serves the others on', async () => {
    const good = await home.client();
    await raw('GET / HTTP/1.1\r\nHost: localhost\r\n\r\n');
    await raw(frame('{"jsonrpc": "2.0", "id": 1, "meth'));
    await raw('Content-Length: 99999999999\r\n\r\n{}');
    await raw('Content-Length: -5\r\n\r\n{}');
    await raw('Content-Length: many\r\n\r\n{}');
    await raw('x'.repeat(1_000_000));
    await raw(frame('{"jsonrpc":"2.0","method":"$/cancelRequest"}'));
    await raw(Buffer.from([0, 255, 254, 13, 10, 13, 10]));
    expect((await good.status()).clients).toBe(1);
  });

  it('answers unknown methods and wrong parameters, and stays', async () => {
    const client = await home.client();
    await expect(client.request('flan/unknown', {})).rejects.toMatchObject({ code: -32601 });
    const usage = { data: { code: 'usage' } };
    await expect(client.request(Method.run, [])).rejects.toMatchObject(usage);
    await expect(client.request(Method.run, { task: 'sing', text: 'a' })).rejects.toMatchObject(usage);
    await expect(client.request(Method.run, { task: 'explain' })).rejects.toMatchObject(usage);
    await expect(client.request(Method.run, { task: 'explain', text: 5 })).rejects.toMatchObject(usage);
    await expect(client.request(Method.run, { task: 'explain', text: 'a', beams: 0 })).rejects.toMatchObject(usage);
    await expect(client.request(Method.run, { task: 'explain', text: 'a', engine: 'x' })).rejects.toMatchObject(usage);
    await client.rpc.sendNotification('textDocument/didOpen', { any: 'thing' });
    expect((await client.status()).state).toBe('idle');
  });
});

describe('starting', () => {
  it('quotes the log when the server cannot start', async () => {
    const broken = join(home.paths.home, 'broken.js');
    writeFileSync(broken, 'console.error("no room for this"); process.exit(3);');
    const failing = connect({ home: home.paths.home, serverPath: broken, client: 'test' });
    await expect(failing).rejects.toMatchObject({ code: 'server-start' });
    await expect(failing).rejects.toThrow(/exit code 3.*no room for this.*server\.log/);
  });

  it('says so when the server does not answer in time, or is not there', async () => {
    const silent = join(home.paths.home, 'silent.js');
    writeFileSync(silent, 'console.error("still busy"); setTimeout(() => {}, 4000);');
    const options = { home: home.paths.home, client: 'test' };
    await expect(connect({ ...options, serverPath: silent, timeoutMs: 3000 })).rejects.toThrow(
      /did not answer within 3 s.*still busy/,
    );
    await expect(connect({ ...options, serverPath: join(home.paths.home, 'none.js') })).rejects.toMatchObject({
      code: 'server-missing',
    });
  });

  it('says so when the program that is to run it is not there', async () => {
    const nodePath = join(home.paths.home, 'no-node');
    await expect(connect({ home: home.paths.home, serverPath: SERVER, nodePath, client: 'test' })).rejects.toThrow(
      /could not be started.*no-node/,
    );
  });

  it('puts a large log aside', async () => {
    createFolders(home.paths);
    writeFileSync(home.paths.log, 'x'.repeat(2 * 1024 * 1024));
    await home.client();
    expect(statSync(home.paths.log).size).toBeLessThan(10_000);
    expect(statSync(`${home.paths.log}.1`).size).toBe(2 * 1024 * 1024);
  });

  it.skipIf(process.platform === 'win32')('works from a home whose path is too long for a socket', async () => {
    const long = join(home.paths.home, 'a'.repeat(120));
    mkdirSync(long);
    expect(Buffer.byteLength(socketAddress(flanPaths(long)))).toBeLessThanOrEqual(107);
    const connection = await connect({ home: long, serverPath: SERVER, linger: 0, client: 'test' });
    expect(connection.socket.readyState).toBe('open');
    process.kill(connection.pid, 'SIGTERM');
    expect(await until(() => !isAlive(connection.pid))).toBe(true);
  });
});
