import { createHash } from 'node:crypto';
import { copyFileSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseConfig } from '../../../server/weights/config';
import { convertCheckpoint } from '../../../server/weights/convert';
import { WeightFileError } from '../../../server/weights/errors';
import { inspectWeightFile, openWeightFile, verifyWeightFile } from '../../../server/weights/file';
import { encodeErrors, encodeHeader, planOf } from '../../../server/weights/plan';
import { randomOf, rejection, SMALL, temporaryFolder, writeCheckpoint } from './support';

const folder = temporaryFolder();
const source = join(folder, 'source');
writeCheckpoint(source);

async function made(format: 'int8' | 'fp32'): Promise<string> {
  const out = join(folder, `${format}.safetensors`);
  await convertCheckpoint({ source, out, format });
  return out;
}

describe('the header', () => {
  const config = parseConfig({ ...SMALL, num_layers: 1, num_decoder_layers: 1 }, { lmHead: false });

  it('is the one that was agreed on', () => {
    const header = encodeHeader(planOf(config, 'int8'), {
      format: 'flan-int8',
      version: '1',
      block: '128',
      config: JSON.stringify(config),
      source: 's',
      errors: encodeErrors([['shared.weight', 0.005, 0.25]]),
      sha256: 'd',
    });
    expect(header.length % 4096).toBe(0);
    expect(header.readBigUInt64LE()).toBe(BigInt(header.length - 8));
    const text = header.subarray(8).toString();
    const unsealed = text.trimEnd().replace(/"headerSha256":"[0-9a-f]*"/, '"headerSha256":""');
    expect(text).toContain(createHash('sha256').update(unsealed).digest('hex'));
    const json = JSON.parse(text) as Record<string, { data_offsets: number[] }>;
    expect(text).toBe(JSON.stringify(json).padEnd(header.length - 8));
    expect(Object.entries(json).slice(0, 3)).toEqual([
      [
        '__metadata__',
        {
          format: 'flan-int8',
          version: '1',
          block: '128',
          config: JSON.stringify(config),
          source: 's',
          errors: '[["shared.weight",0.005,0.25]]',
          sha256: 'd',
          headerSha256: 'c043899a25b05b03c630c07d3c12e846ac13932be6cc4f7717fdf2577cbb120b',
        },
      ],
      ['shared.weight', { dtype: 'U8', shape: [70, 128], data_offsets: [0, 8960] }],
      [
        'encoder.block.0.layer.0.SelfAttention.q.weight',
        { dtype: 'U8', shape: [24, 128], data_offsets: [8960, 12032] },
      ],
    ]);
    const kinds = Object.keys(json)
      .slice(1)
      .map((name) =>
        name.endsWith('.scales') ? 'F16' : name.includes('norm') || name.includes('bias') ? 'F32' : 'U8',
      );
    expect([...new Set(kinds)]).toEqual(['U8', 'F32', 'F16']);
    expect(kinds).toEqual([...kinds].sort((a, b) => ['U8', 'F32', 'F16'].indexOf(a) - ['U8', 'F32', 'F16'].indexOf(b)));
    expect(json['shared.weight.scales']).toMatchObject({ dtype: 'F16', shape: [70, 1] });
    expect(json['encoder.block.0.layer.1.DenseReluDense.wo.weight.scales']).toMatchObject({ shape: [40, 2] });
  });

  it('has the same size whatever the errors are', () => {
    const plan = planOf(config, 'int8');
    const size = (errors: string) =>
      encodeHeader(plan, {
        format: 'flan-int8',
        version: '1',
        block: '128',
        config: '',
        source: '',
        errors,
        sha256: '',
      }).length;
    const many = encodeErrors(plan.tensors.map(({ name }, i) => [`${name}-"quoted"`, 1.234e-10 * i, 1.234e-10]));
    expect(JSON.parse(many).length).toBeGreaterThan(8);
    expect(size(many)).toBe(size('[]'));
  });
});

describe.each(['int8', 'fp32'] as const)('%s', (format) => {
  it('opens, and places every tensor at the offset that its header says', async () => {
    const path = await made(format);
    const file = await openWeightFile(path);
    const bytes = readFileSync(path);
    expect(file).toMatchObject({ path, format, fileBytes: bytes.length });
    expect(file.dataStart % 4096).toBe(0);
    expect(file.config).toEqual(parseConfig(SMALL, { lmHead: false }));
    expect(file.sha256).toBe(createHash('sha256').update(bytes.subarray(file.dataStart)).digest('hex'));
    let at = file.dataStart;
    for (const name of file.names) {
      const place = file.offsetOf(name);
      expect(place.offset).toBe(at);
      const size = place.shape.reduce((a, b) => a * b, { U8: 1, F16: 2, F32: 4 }[place.dtype]);
      expect(place.bytes).toBe(size);
      expect(place.offset % { U8: 128, F16: 2, F32: 4 }[place.dtype]).toBe(0);
      at += place.bytes;
    }
    expect(at).toBe(bytes.length);
    expect(() => file.offsetOf('nothing')).toThrow(WeightFileError);
  });

  it('is refused wherever a bit of it is turned', async () => {
    const path = await made(format);
    const whole = readFileSync(path);
    const json = whole.subarray(8).toString('latin1').trimEnd().length + 8;
    const { dataStart } = await inspectWeightFile(path);
    const damaged = join(folder, `damaged-${format}.safetensors`);
    const random = randomOf(5);
    const places = [0, 3, 8, json - 1, dataStart, whole.length - 1];
    for (let i = 0; i < 150; i++) places.push(Math.floor(random() * json));
    for (let i = 0; i < 50; i++) places.push(dataStart + Math.floor(random() * (whole.length - dataStart)));
    for (const place of places) {
      const bytes = Buffer.from(whole);
      bytes[place] = (bytes[place] ?? 0) ^ (1 << Math.floor(random() * 8));
      writeFileSync(damaged, bytes);
      const error = await rejection(openWeightFile(damaged)).catch(
        (e: Error) => new Error(`byte ${place}: ${e.message}`),
      );
      expect(error).toBeInstanceOf(WeightFileError);
      expect(error.message).toMatch(/^[^\n]*damaged-[^\n]*(Convert or download the model again)/);
    }
  });

  it('is refused when it is cut short or goes on', async () => {
    const path = await made(format);
    const whole = readFileSync(path);
    const damaged = join(folder, `short-${format}.safetensors`);
    for (const length of [0, 5, 8, 100, 4096, whole.length / 2, whole.length - 1]) {
      writeFileSync(damaged, whole.subarray(0, length));
      expect(await rejection(openWeightFile(damaged))).toBeInstanceOf(WeightFileError);
    }
    writeFileSync(damaged, Buffer.concat([whole, Buffer.alloc(1)]));
    expect(await rejection(openWeightFile(damaged))).toBeInstanceOf(WeightFileError);
  });
});

it('another safetensors file is no weight file', async () => {
  const error = await rejection(openWeightFile(join(source, 'model.safetensors')));
  expect(error).toBeInstanceOf(WeightFileError);
  expect(error.message).toMatch(/no weight file of this program/);
});

it('a file of another version says so', async () => {
  const path = join(folder, 'version.safetensors');
  const bytes = readFileSync(await made('int8'));
  bytes.write('"version":"9"', bytes.indexOf('"version":"1"'));
  writeFileSync(path, bytes);
  expect((await rejection(openWeightFile(path))).message).toMatch(/format version 9, but version 1 is needed/);
});

it('a header that asks for absurd sizes is refused at once', async () => {
  const path = join(folder, 'absurd.safetensors');
  const bytes = readFileSync(await made('int8'));
  const at = bytes.indexOf('\\"encoderLayers\\":2');
  bytes.write('\\"encoderLayers\\":9', at);
  writeFileSync(path, bytes);
  expect((await rejection(openWeightFile(path))).message).toMatch(/header is damaged/);
});

describe('the memory of what was found whole', () => {
  it('large files are read once for each state, small ones always', async () => {
    const stampDir = join(folder, 'stamps');
    const path = join(folder, 'stamped.safetensors');
    copyFileSync(await made('int8'), path);
    let pieces = 0;
    const options = { stampDir, alwaysBelow: 0, onProgress: () => pieces++ };
    const reads = async (run: Promise<unknown>) => {
      pieces = 0;
      await run;
      return pieces > 0;
    };
    expect(await reads(openWeightFile(path, options))).toBe(true);
    expect(readdirSync(stampDir)).toHaveLength(1);
    expect(await reads(openWeightFile(path, options))).toBe(false);
    expect(await reads(openWeightFile(path, { ...options, alwaysBelow: 1e9 }))).toBe(true);
    expect(await reads(verifyWeightFile(path, options))).toBe(true);
    const { atime, mtime } = statSync(path);
    utimesSync(path, atime, new Date(mtime.getTime() + 5_000));
    expect(await reads(openWeightFile(path, options))).toBe(true);
    expect(await reads(openWeightFile(path, options))).toBe(false);
    // Damaged later, with another time of change: found.
    const bytes = readFileSync(path);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    writeFileSync(path, bytes);
    expect(await rejection(openWeightFile(path, options))).toBeInstanceOf(WeightFileError);
    expect(await rejection(openWeightFile(path, options))).toBeInstanceOf(WeightFileError);
  });

  it('can be cancelled', async () => {
    const path = await made('int8');
    expect(await rejection(verifyWeightFile(path, { signal: { aborted: true } }))).toMatchObject({ code: 'cancelled' });
  });
});

it('the starter model is whole, and its errors are small', async () => {
  const file = await verifyWeightFile(resolve('models/starter/model.int8.safetensors'));
  expect(file.config).toMatchObject({ vocabSize: 16000, encoderLayers: 6, decoderLayers: 4, tied: true });
  expect(file.errors).toHaveLength(16);
  for (const [, relativeRms] of file.errors) expect(relativeRms).toBeLessThan(0.007);
});
