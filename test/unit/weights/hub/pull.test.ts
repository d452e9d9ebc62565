import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { buildSync } from 'esbuild';
import { describe, expect, it } from 'vitest';
import { lookAt } from '../../../../server/weights/hub/look';
import { rejection, writeCheckpoint } from '../support';
import { Place, prepared } from './support';

const fixtures = resolve('test/fixtures/checkpoints');
const torch = resolve('test/unit/weights/torch');

describe('a model of the hub is byte for byte what converting its folder gives', () => {
  it.each([
    ['safetensors', join(fixtures, 'gelu-untied')],
    ['an embedding that is the output layer', join(fixtures, 'relu-tied')],
    ['safetensors in shards', join(fixtures, 'silu-uneven')],
    ['umT5', join(fixtures, 'umt5')],
    ['a PyTorch file', join(torch, 'zip')],
    ['a PyTorch file from before version 1.6', join(torch, 'legacy')],
    ['PyTorch files in shards', join(torch, 'sharded')],
  ])('%s', async (_, source) => {
    const place = await Place.create();
    place.hub.add('google/tiny', source);
    const expected = await place.converted(source);
    const pulled = await place.pull('google/tiny');
    expect(pulled).toMatchObject({ name: 'tiny', dir: join(place.models, 'tiny'), made: true });
    expect(place.installed('tiny')).toEqual(expected);
    expect(place.unfinished).toEqual([]);
    expect(place.hub.servedBytes).toBeGreaterThan(0);
    await place.pull('google/tiny', { name: 'kept', keepOriginal: true });
    expect(place.installed('kept')).toMatchObject(expected);
    const originals = readdirSync(source).filter((name) => /safetensors|\.bin/.test(name));
    expect(Object.keys(place.installed('kept'))).toEqual(expect.arrayContaining(originals));
  });

  it('over many connections, of which Node has nothing to warn', async () => {
    const { place, expected } = await prepared();
    place.hub.fault = ({ kind }) => (kind === 'data' ? { kind: 'drip', bytes: 1000, ms: 1 } : undefined);
    const warnings: Error[] = [];
    const heard = (warning: Error) => warnings.push(warning);
    process.on('warning', heard);
    try {
      const streamLimits = { connections: 32, minSegment: 1024, maxSegment: 1024, windowBytes: 256 * 1024 };
      await place.pull('google/tiny', { lineLimits: { connections: 32 }, streamLimits });
      // Warnings come a moment later.
      await new Promise((resolve) => setImmediate(resolve));
    } finally {
      process.off('warning', heard);
    }
    expect(warnings).toEqual([]);
    expect(place.installed('tiny')).toEqual(expected);
  });

  it('with threads that quantize and hash, also where the original is kept', async () => {
    const { place, expected } = await prepared();
    const built = (name: string, entry: string) => {
      const outfile = join(place.dir, name);
      buildSync({ entryPoints: [resolve(entry)], outfile, bundle: true, platform: 'node', target: 'node20' });
      return outfile;
    };
    const threads = {
      quantizerFile: built('quantizer.cjs', 'server/weights/quantize_thread.ts'),
      hasherFile: built('hasher.cjs', 'server/weights/hub/sha256_thread.ts'),
      threadsFromBytes: 0,
    };
    await place.pull('google/tiny', threads);
    expect(place.installed('tiny')).toEqual(expected);
    await place.pull('google/tiny', { ...threads, name: 'kept', keepOriginal: true });
    expect(place.installed('kept')).toMatchObject(expected);
    // A thread that cannot start is an error, and what was fetched stays.
    const broken = { ...threads, hasherFile: join(place.dir, 'none.cjs'), name: 'again' };
    expect((await rejection(place.pull('google/tiny', broken))).message).toMatch(/thread/);
    await place.pull('google/tiny', { ...threads, name: 'again' });
    expect(place.installed('again')).toEqual(expected);
  });

  it('an output layer of its own that config.json does not tell of, and one that is a copy', async () => {
    for (const copy of [false, true]) {
      const place = await Place.create();
      const source = join(place.dir, 'source');
      mkdirSync(source);
      writeCheckpoint(source, {
        dtype: 'BF16',
        config: { vocab_size: 700 },
        change: (tensors) => {
          const shared = tensors['shared.weight'];
          if (!shared) throw new Error('no embedding');
          const bytes = shared.bytes.slice();
          if (!copy) bytes[bytes.length - 2] = (bytes.at(-2) ?? 0) ^ 1;
          tensors['lm_head.weight'] = { ...shared, bytes };
        },
      });
      place.hub.add('google/tiny', source);
      await place.pull('google/tiny');
      expect(place.installed('tiny')).toEqual(await place.converted(source));
    }
  });
});

describe('what is asked for', () => {
  it('a revision of a pull request, installed once', async () => {
    const place = await Place.create();
    place.hub.add('google/tiny', join(fixtures, 'umt5'), { revisions: ['refs/pr/29'] });
    await place.pull('google/tiny@refs/pr/29');
    const requests = place.hub.requests.length;
    expect(await place.pull('google/tiny@refs/pr/29')).toMatchObject({ made: false });
    expect(place.hub.requests.slice(requests).map(({ kind }) => kind)).not.toContain('data');
    await expect(place.pull('google/tiny@v9', { name: 'other' })).rejects.toMatchObject({ code: 'hub-unknown' });
  });

  it('safetensors where there are PyTorch files as well', async () => {
    const place = await Place.create();
    const source = join(fixtures, 'umt5');
    const weights = readFileSync(join(source, 'model.safetensors'));
    const files = { 'config.json': readFileSync(join(source, 'config.json')), 'model.safetensors': weights };
    place.hub.add('google/tiny', { ...files, 'pytorch_model.bin': Buffer.from('no such file is read') });
    await place.pull('google/tiny');
    expect(place.hub.requests.some(({ path }) => path === 'pytorch_model.bin')).toBe(false);
  });

  it.each(['a/b/c', 'a b/c', '../x', 'a/..', '', 'google/x@', 'google/x@a..b', 'x@y@z'])('not %j', async (model) => {
    const place = await Place.create();
    await expect(place.pull(model)).rejects.toMatchObject({ code: 'usage' });
    expect(place.hub.requests).toEqual([]);
  });

  it('another architecture is refused with its name before anything large is fetched', async () => {
    const place = await Place.create();
    const config = JSON.stringify({ model_type: 'llama', architectures: ['LlamaForCausalLM'] });
    place.hub.add('meta/llama', { 'config.json': config, 'model.safetensors': Buffer.alloc(1 << 20) });
    await expect(place.pull('meta/llama')).rejects.toThrow(/llama/);
    expect(place.hub.requests.some(({ path }) => path === 'model.safetensors')).toBe(false);
  });

  it('another model under the same name stays, and so does a folder of the user', async () => {
    const place = await Place.create();
    place.hub.add('google/tiny', join(fixtures, 'umt5'));
    place.hub.add('other/tiny', join(fixtures, 'relu-tied'));
    await place.pull('google/tiny');
    const before = place.installed('tiny');
    await expect(place.pull('other/tiny')).rejects.toMatchObject({ code: 'model-exists' });
    expect(place.installed('tiny')).toEqual(before);
    await place.pull('other/tiny', { name: 'tiny2' });
    mkdirSync(join(place.models, 'mine'));
    writeFileSync(join(place.models, 'mine', 'thesis.txt'), 'x');
    await expect(place.pull('other/tiny', { name: 'mine' })).rejects.toMatchObject({ code: 'model-exists' });
    expect(readdirSync(join(place.models, 'mine'))).toEqual(['thesis.txt']);
  });

  it('a newer state of a repository takes the place of the one before', async () => {
    const place = await Place.create();
    const first = join(place.dir, 'first');
    const second = join(place.dir, 'second');
    for (const [dir, seed] of [
      [first, 1],
      [second, 2],
    ] as const) {
      mkdirSync(dir);
      writeCheckpoint(dir, { seed });
    }
    place.hub.add('google/tiny', first);
    await place.pull('google/tiny');
    place.hub.add('google/tiny', second);
    expect(await place.pull('google/tiny')).toMatchObject({ made: true });
    expect(place.installed('tiny')).toEqual(await place.converted(second));
  });
});

describe('without a download', () => {
  it('a folder of this machine', async () => {
    const place = await Place.create();
    const source = join(fixtures, 'silu-uneven');
    await place.pull(source);
    expect(place.installed('silu-uneven')).toEqual(await place.converted(source));
    expect(place.hub.requests).toEqual([]);
  });

  it('the Hugging Face cache, with its links, which is left as it is', async () => {
    const place = await Place.create();
    const source = join(fixtures, 'silu-uneven');
    const repository = join(place.dir, 'hf', 'hub', 'models--google--tiny');
    const commit = '0123456789abcdef0123456789abcdef01234567';
    const snapshot = join(repository, 'snapshots', commit);
    mkdirSync(join(repository, 'refs', 'refs', 'pr'), { recursive: true });
    mkdirSync(snapshot, { recursive: true });
    cpSync(source, join(repository, 'blobs'), { recursive: true });
    writeFileSync(join(repository, 'blobs', 'tokenizer.json'), '{}');
    for (const name of readdirSync(join(repository, 'blobs'))) {
      symlinkSync(join('..', '..', 'blobs', name), join(snapshot, name));
    }
    writeFileSync(join(repository, 'refs', 'refs', 'pr', '2'), commit);
    const before = readdirSync(repository, { recursive: true }).sort();
    expect(await place.pull('google/tiny@refs/pr/2')).toMatchObject({ made: true });
    expect(place.installed('tiny')).toMatchObject(await place.converted(source));
    expect(place.hub.requests).toEqual([]);
    expect(readdirSync(repository, { recursive: true }).sort()).toEqual(before);
    // Without one of its shards, it is no use.
    rmSync(join(repository, 'blobs', 'model-00002-of-00002.safetensors'));
    place.hub.add('google/tiny', source, { revisions: ['refs/pr/2'] });
    await place.pull('google/tiny@refs/pr/2', { name: 'again' });
    expect(place.installed('again')).toEqual(await place.converted(source));
    expect(place.hub.requests.length).toBeGreaterThan(0);
  });
});

describe('looking at a repository', () => {
  it('tells what a pull would read and make, and fetches nothing large', async () => {
    const place = await Place.create();
    place.hub.add('google/tiny', join(fixtures, 'silu-uneven'), { license: 'apache-2.0' });
    const options = { modelsDir: place.models, env: {}, signal: new AbortController().signal, hubUrl: place.hub.url };
    const info = await lookAt({ ...options, model: 'google/tiny' });
    expect(info).toMatchObject({
      ...{ repository: 'google/tiny', revision: 'main', commit: place.hub.commit('google/tiny'), name: 'tiny' },
      ...{ weights: 'safetensors', license: 'apache-2.0', gated: false, config: { model_type: 't5' } },
    });
    expect(info.installed).toBeUndefined();
    expect(place.hub.requests.some(({ path }) => /0000\d-of/.test(path))).toBe(false);
    await place.pull('google/tiny');
    expect(place.hub.servedBytes).toBeGreaterThan(info.downloadBytes);
    const again = await lookAt({ ...options, model: 'google/tiny' });
    expect(again.installed).toEqual({ dir: join(place.models, 'tiny'), same: true });
  });
});
