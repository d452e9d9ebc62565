import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Fault, HubRequest } from '../../../support/hub';
import { writeCheckpoint } from '../support';
import { Place, prepared } from './support';

const torch = resolve('test/unit/weights/torch');

const isWeights = ({ kind, path }: HubRequest) => kind === 'data' && path.endsWith('.safetensors');

describe('a pull comes to the same end', () => {
  const faults: [string, (request: HubRequest) => Fault | undefined][] = [
    [
      'on a line that is cut after some bytes of every answer',
      (r) => (isWeights(r) ? { kind: 'cut', after: 3000 } : undefined),
    ],
    [
      'on a line that is cut before the first byte now and then',
      (r) => (r.before % 3 === 0 && isWeights(r) ? { kind: 'cut', after: 0 } : undefined),
    ],
    ['with 500 for every second request', (r) => (r.before % 2 === 0 ? { kind: 'status', status: 500 } : undefined)],
    [
      'with 429 and when to come again',
      (r) => (r.before % 2 === 0 ? { kind: 'status', status: 429, retryAfter: 0 } : undefined),
    ],
    ['with slow drips', (r) => (isWeights(r) && r.before < 4 ? { kind: 'drip', bytes: 1500, ms: 5 } : undefined)],
    ['with redirects upon redirects', (r) => (r.kind === 'resolve' ? { kind: 'redirect', times: 4 } : undefined)],
    [
      'with addresses that expire',
      (r) => (isWeights(r) && r.before % 4 === 3 ? { kind: 'status', status: 403 } : undefined),
    ],
    ['from a server without ranges', () => ({ kind: 'no-range' })],
    [
      'from a server without ranges that cuts the line at first',
      (r) => (r.kind === 'data' && r.before < 4 ? { kind: 'cut', after: 50_000 } : { kind: 'no-range' }),
    ],
  ];
  it.each(faults)('%s', async (_, fault) => {
    const { place, expected } = await prepared();
    place.hub.fault = fault;
    await place.pull('google/tiny');
    expect(place.installed('tiny')).toEqual(expected);
    expect(place.unfinished).toEqual([]);
  });

  it('on a line that falls silent', async () => {
    const { place, expected } = await prepared();
    place.hub.fault = (r) => (isWeights(r) && r.before === 5 ? { kind: 'stall', after: 1000 } : undefined);
    await place.pull('google/tiny', { lineLimits: { silentMs: 300 } });
    expect(place.installed('tiny')).toEqual(expected);
  });

  it('on a line that gives next to nothing', async () => {
    const { place, expected } = await prepared();
    let left = 2;
    place.hub.fault = (r) =>
      isWeights(r) && r.before >= 5 && left-- > 0 ? { kind: 'drip', bytes: 1, ms: 20 } : undefined;
    // A segment would take more than a minute.
    await place.pull('google/tiny', { lineLimits: { slowMs: 200, slowBytes: 1000 } });
    expect(place.installed('tiny')).toEqual(expected);
    expect(left).toBeLessThan(0);
  });

  it('when the weights are PyTorch files and the line is bad', async () => {
    const place = await Place.create();
    const source = join(torch, 'sharded');
    place.hub.add('google/tiny', source);
    place.hub.fault = (r) => (r.kind === 'data' && r.before % 2 === 0 ? { kind: 'cut', after: 100 } : undefined);
    await place.pull('google/tiny');
    expect(place.installed('tiny')).toEqual(await place.converted(source));
  });
});

describe('wrong bytes', () => {
  it('are found, named, and fetched again, wherever they are in the file', async () => {
    const { place, source, expected } = await prepared();
    const name = 'model-00001-of-00002.safetensors';
    const size = statSync(join(source, name)).size;
    const header = Number(readFileSync(join(source, name)).readBigUInt64LE(0)) + 8;
    // In the length of the header, its text, the weights (one of them turned into what is no number), and the last byte.
    for (const at of [3, 300, header + 1, header + 7001, size - 1]) {
      let left = 1;
      place.hub.fault = (r) => {
        // The header is read first, on its own.
        const wanted = isWeights(r) && r.path === name && (at < header || r.to - r.from <= 16 * 1024);
        const hit = wanted && r.from <= at && at < r.to && left-- > 0;
        return hit ? { kind: 'wrong-byte', at } : undefined;
      };
      const pulled = await place.pull('google/tiny', { name: `tiny-${at}` });
      expect(place.installed(`tiny-${at}`)).toEqual(expected);
      expect(left).toBeLessThan(1);
      const named =
        /model-00001-of-00002.safetensors (arrived with a wrong checksum|came differently)|Begun again: .*model-00001/;
      expect(pulled.notes.join('\n')).toMatch(named);
    }
  });

  it('that stay wrong end the pull; nothing is installed, and the next one is right', async () => {
    const { place, expected } = await prepared();
    place.hub.fault = (r) =>
      isWeights(r) && r.path.includes('00002-of') ? { kind: 'wrong-byte', at: 40_000 } : undefined;
    const failed = place.pull('google/tiny');
    await expect(failed).rejects.toMatchObject({
      code: 'hub-checksum',
      file: 'google/tiny/model-00002-of-00002.safetensors',
    });
    expect(readdirSync(place.models)).toEqual(['.pulls']);
    place.hub.fault = () => undefined;
    const before = place.hub.servedBytes;
    await place.pull('google/tiny');
    expect(place.installed('tiny')).toEqual(expected);
    // The first shard was right and is not fetched again, but for its header.
    const again = place.hub.requests.filter((r) => isWeights(r) && r.path.includes('00001-of')).at(-1);
    expect(again?.from).toBe(0);
    expect(place.hub.servedBytes - before).toBeLessThan(300_000);
  });

  it('in a small file are found by the sum that git has of it', async () => {
    const { place, expected } = await prepared();
    place.hub.fault = (r) =>
      r.path === 'tokenizer.json' && r.before === 0 ? { kind: 'wrong-byte', at: 2 } : undefined;
    await place.pull('google/tiny');
    expect(place.installed('tiny')).toEqual(expected);
    place.hub.fault = (r) => (r.path === 'config.json' ? { kind: 'wrong-byte', at: 2 } : undefined);
    await expect(place.pull('google/tiny', { name: 'b' })).rejects.toMatchObject({ code: 'hub-checksum' });
  });

  it('a size that is not the one the hub lists', async () => {
    const { place } = await prepared();
    place.hub.fault = (r) => (isWeights(r) ? { kind: 'wrong-size', bytes: 20_000 } : undefined);
    await expect(place.pull('google/tiny')).rejects.toMatchObject({ code: 'hub-changed' });
  });

  it('a file that changes between two requests: the new one is installed, whole', async () => {
    const { place, source } = await prepared();
    const next = join(place.dir, 'next');
    mkdirSync(next);
    writeCheckpoint(next, { dtype: 'BF16', shards: 2, config: { vocab_size: 2000 }, seed: 2 });
    writeFileSync(join(next, 'tokenizer.json'), '{"model": {}}');
    let changed = false;
    place.hub.fault = (r) => {
      if (!changed && isWeights(r) && r.before === 6) {
        changed = true;
        for (const name of readdirSync(next)) place.hub.replace('google/tiny', name, readFileSync(join(next, name)));
      }
      return undefined;
    };
    await place.pull('google/tiny');
    expect(changed).toBe(true);
    expect(place.installed('tiny')).toEqual(await place.converted(next));
    expect(place.installed('tiny')).not.toEqual(await place.converted(source));
  });
});

describe('what ends with one line', () => {
  it('a hub that answers nothing but 503', async () => {
    const { place } = await prepared();
    place.hub.fault = () => ({ kind: 'status', status: 503 });
    await expect(place.pull('google/tiny')).rejects.toMatchObject({ code: 'hub-line' });
  });

  it('a hub that is not there', async () => {
    const { place } = await prepared();
    const url = place.hub.url;
    await place.hub.close();
    await expect(place.pull('google/tiny', { hubUrl: url })).rejects.toMatchObject({ code: 'hub-offline' });
  });

  it('a wait that is too long to be waited for', async () => {
    const { place } = await prepared();
    place.hub.fault = (r) => (isWeights(r) ? { kind: 'status', status: 429, retryAfter: 86_400 } : undefined);
    await expect(place.pull('google/tiny')).rejects.toMatchObject({ code: 'hub-line' });
  });

  it('a line that breaks for good in the middle: what was fetched is not fetched again', async () => {
    const { place, expected } = await prepared();
    place.hub.fault = (r) => (isWeights(r) && r.from > 120_000 ? { kind: 'cut', after: 0 } : undefined);
    await expect(place.pull('google/tiny')).rejects.toMatchObject({ code: 'hub-line' });
    const first = place.hub.servedBytes;
    place.hub.fault = () => undefined;
    await place.pull('google/tiny');
    expect(place.installed('tiny')).toEqual(expected);
    const all = statSync(join(place.dir, 'source', 'model-00001-of-00002.safetensors')).size;
    expect(place.hub.servedBytes - first).toBeLessThan(first + 2 * all);
  });

  it('a cancelled pull, which goes on later', async () => {
    const { place, expected } = await prepared();
    const stop = new AbortController();
    place.hub.onServed = (bytes) => {
      if (bytes > 200_000) stop.abort();
    };
    await expect(place.pull('google/tiny', { signal: stop.signal })).rejects.toMatchObject({ code: 'cancelled' });
    expect(readdirSync(place.models)).toEqual(['.pulls']);
    await place.pull('google/tiny');
    expect(place.installed('tiny')).toEqual(expected);
  });

  it('no room, before anything large is fetched', async () => {
    const { place } = await prepared();
    const pull = place.pull('google/tiny', { freeBytes: async () => 1_000_000 });
    await expect(pull).rejects.toThrow(/does not fit: 6\d MB are needed .*tiny, but only 1 MB are free/);
    expect(place.hub.servedBytes).toBeLessThan(400_000);
  });

  it('a disk that fills up in the middle, and has room again', async () => {
    const { place, expected } = await prepared();
    let room = 60_000;
    const openOutput = async (path: string) => {
      const handle = await open(path, 'wx+');
      return {
        read: handle.read.bind(handle),
        sync: handle.sync.bind(handle),
        close: handle.close.bind(handle),
        write: (async (bytes: Uint8Array, offset: number, length: number, position: number) => {
          room -= length;
          if (room < 0) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' });
          return handle.write(bytes, offset, length, position);
        }) as typeof handle.write,
      };
    };
    const failed = place.pull('google/tiny', { openOutput });
    await expect(failed).rejects.toThrow(
      /^The disk is full: [^ ]*models.tiny.model\.int8\.safetensors could not.*goes on from there\.$/,
    );
    await expect(failed).rejects.toMatchObject({ code: 'disk-full' });
    await place.pull('google/tiny');
    expect(place.installed('tiny')).toEqual(expected);
  });

  it('weights that are no numbers, when that is no fault of the line', async () => {
    const place = await Place.create();
    const source = join(place.dir, 'source');
    mkdirSync(source);
    writeCheckpoint(source, {
      dtype: 'BF16',
      change: (tensors) => {
        const bytes = tensors['encoder.block.0.layer.0.SelfAttention.q.weight']?.bytes;
        bytes?.set([0xc0, 0x7f], 10);
      },
    });
    place.hub.add('google/tiny', source);
    await expect(place.pull('google/tiny')).rejects.toMatchObject({ code: 'tensor' });
    expect(place.hub.requests.filter(isWeights).filter(({ from }) => from === 0).length).toBeLessThan(4);
  });
});
