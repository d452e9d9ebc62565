import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ProxyStandIn } from '../../../support/proxy';
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
  let proxy: ProxyStandIn;
  const names = ['HTTP_PROXY', 'http_proxy', 'NO_PROXY', 'no_proxy'];
  const environment = { ...process.env };
  beforeEach(async () => {
    proxy = await ProxyStandIn.start();
    for (const name of names) delete process.env[name];
  });
  afterEach(async () => {
    await proxy.close();
    for (const name of names) {
      if (environment[name] === undefined) delete process.env[name];
      else process.env[name] = environment[name];
    }
  });

  it.each([
    ['given', true],
    ['given, with exceptions', false],
    ['given, with exceptions instead of those of the environment', true],
    ['from the environment', true],
    ['for other addresses only', false],
  ])('%s', async (how, used) => {
    const { place, expected } = await prepared();
    const given = how.startsWith('given');
    if (!given) process.env['HTTP_PROXY'] = proxy.url;
    if (how === 'for other addresses only' || how.endsWith('environment')) process.env['NO_PROXY'] = '127.0.0.1';
    if (how === 'from the environment') delete process.env['NO_PROXY'];
    await place.pull('google/tiny', {
      ...(given ? { proxy: proxy.url } : {}),
      ...(how === 'given, with exceptions' ? { noProxy: 'example.org,127.0.0.1' } : {}),
      ...(how.endsWith('instead of those of the environment') ? { noProxy: 'example.org' } : {}),
    });
    expect(place.installed('tiny')).toEqual(expected);
    expect(proxy.tunnels.length > 0).toBe(used);
  });
});
