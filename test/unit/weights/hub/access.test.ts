import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { type AddressInfo, connect, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import { Place, prepared } from './support';

describe('tokens', () => {
  it('open what is private or gated, go to the hub alone, and are asked for in a line', async () => {
    const { place, source, expected } = await prepared();
    place.hub.add('me/private', source, { token: 'hf_secret' });
    place.hub.add('meta/gated', source, { token: 'hf_secret', gated: true });
    await expect(place.pull('me/private')).rejects.toMatchObject({ code: 'hub-token', message: /HF_TOKEN/ });
    await expect(place.pull('meta/gated')).rejects.toMatchObject({ code: 'hub-token', message: /accept its terms/ });
    const wrong = place.pull('me/private', { accessToken: 'hf_wrong' });
    await expect(wrong).rejects.toThrow(/^(?!.*hf_wrong).*may not read it/);
    await place.pull('me/private', { accessToken: 'hf_secret' });
    expect(place.installed('private')).toEqual(expected);
    await place.pull('meta/gated', { env: { HF_TOKEN: 'hf_secret' } });
    expect(place.installed('gated')).toEqual(expected);
    for (const name of readdirSync(join(place.models, 'private'))) {
      expect(readFileSync(join(place.models, 'private', name)).includes('hf_secret')).toBe(false);
    }
  });

  it('a hub whose address holds a password is not asked, and its address not shown', async () => {
    const { place } = await prepared();
    const hubUrl = place.hub.url.replace('//', '//me:sesame@');
    await expect(place.pull('google/tiny', { hubUrl })).rejects.toThrow(/^(?!.*sesame).*access token/);
    await expect(place.pull('google/tiny', { hubUrl: 'ftp://x' })).rejects.toMatchObject({ code: 'usage' });
    expect(place.hub.requests).toEqual([]);
  });

  it('are not sent to where the hub redirects', async () => {
    const { place, source } = await prepared();
    const other = await Place.create();
    other.hub.add('me/private', source);
    place.hub.add('me/private', source, { token: 'hf_secret' });
    // The files come from another server, as they do from the public hub.
    const relay = createServer((request, response) => {
      const away = /\/resolve\/[^/]+\/(.+\.safetensors)$/.exec(request.url ?? '');
      const to = away ? `${other.hub.url}/cdn/me/private/${away[1]}` : `${place.hub.url}${request.url}`;
      if (away) return void response.writeHead(302, { Location: to }).end();
      const { authorization = '', range } = request.headers;
      fetch(to, { headers: { authorization, ...(range === undefined ? {} : { range }) } }).then(async (answer) => {
        const headers = Object.fromEntries(answer.headers);
        // The next page is this server's, too.
        const next = headers['link']?.replace(place.hub.url, `http://${request.headers.host}`);
        response.writeHead(answer.status, { ...headers, ...(next === undefined ? {} : { link: next }) });
        response.end(Buffer.from(await answer.arrayBuffer()));
      });
    });
    await new Promise<void>((done) => relay.listen(0, '127.0.0.1', done));
    try {
      const url = `http://127.0.0.1:${(relay.address() as AddressInfo).port}`;
      await place.pull('me/private', { hubUrl: url, accessToken: 'hf_secret' });
    } finally {
      relay.close();
    }
    expect(place.hub.requests.every(({ headers }) => headers.authorization === 'Bearer hf_secret')).toBe(true);
    expect(other.hub.requests.length).toBeGreaterThan(0);
    expect(other.hub.requests.filter(({ headers }) => headers.authorization !== undefined)).toEqual([]);
  });
});

describe('proxies', () => {
  const open = new Set<Socket>();
  const environment = { ...process.env };
  afterEach(() => {
    for (const socket of open) socket.destroy();
    for (const name of ['HTTP_PROXY', 'http_proxy', 'NO_PROXY', 'no_proxy']) {
      if (environment[name] === undefined) delete process.env[name];
      else process.env[name] = environment[name];
    }
  });

  it.each(['given', 'from the environment', 'for other addresses only'])('%s', async (how) => {
    const { place, expected } = await prepared();
    let tunnels = 0;
    const proxy = createServer();
    proxy.on('connect', (request, socket: Socket, head: Buffer) => {
      tunnels++;
      const [host, port] = (request.url ?? '').split(':');
      const there = connect(Number(port), host, () => {
        socket.write('HTTP/1.1 200 Connection Established\r\n\r\n');
        there.write(head);
        there.pipe(socket).pipe(there);
      });
      for (const one of [there, socket]) {
        open.add(one);
        one.on('error', () => {});
      }
    });
    await new Promise<void>((done) => proxy.listen(0, '127.0.0.1', done));
    const url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    for (const name of ['HTTP_PROXY', 'http_proxy', 'NO_PROXY', 'no_proxy']) delete process.env[name];
    if (how !== 'given') process.env['HTTP_PROXY'] = url;
    if (how === 'for other addresses only') process.env['NO_PROXY'] = '127.0.0.1';
    try {
      await place.pull('google/tiny', how === 'given' ? { proxy: url } : {});
    } finally {
      proxy.close();
    }
    expect(place.installed('tiny')).toEqual(expected);
    expect(tunnels > 0).toBe(how !== 'for other addresses only');
  });
});
