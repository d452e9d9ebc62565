import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readConfig } from '../../../server/weights/config';
import { convertFolder } from '../../../server/weights/convert';
import { NotAModelError, OutputFolderError, TensorError } from '../../../server/weights/errors';
import { openWeightFile } from '../../../server/weights/file';
import { floats, rejection, temporaryFolder, writeCheckpoint } from './support';

const folder = temporaryFolder();
let count = 0;
const fresh = () => join(folder, `${count++}`);

const source = fresh();
writeCheckpoint(source, { shards: 2 });
writeFileSync(join(source, 'tokenizer_config.json'), '{"a": 1}');
writeFileSync(join(source, 'generation_config.json'), '{"b": 2}');
writeFileSync(join(source, 'README.md'), '# card');
writeFileSync(join(source, 'training_args.bin'), 'not copied');

const COMPLETE = ['README.md', 'config.json', 'generation_config.json', 'model.int8.safetensors', 'tokenizer.json'];

/** The folder's content, name by name. */
const content = (dir: string) =>
  readdirSync(dir).map((name) => [name, readFileSync(join(dir, name)).toString('latin1')]);

describe('flan convert', () => {
  it('makes a folder that is a model', async () => {
    const out = fresh();
    const made = await convertFolder(source, out);
    expect(made.dir).toBe(out);
    expect(readdirSync(out)).toEqual([...COMPLETE, 'tokenizer_config.json'].sort());
    expect(readFileSync(join(out, 'generation_config.json'), 'utf8')).toBe('{"b": 2}');
    const file = await openWeightFile(join(out, 'model.int8.safetensors'));
    expect(made.bytes).toBe(file.fileBytes);
    expect(await readConfig(out)).toEqual(await readConfig(source));
    expect(readdirSync(folder).filter((name) => name.includes('tmp'))).toEqual([]);
  });

  it('a converted folder, converted again, is a copy', async () => {
    const [one, two] = [fresh(), fresh()];
    await convertFolder(source, one);
    await convertFolder(one, two);
    expect(content(two)).toEqual(content(one));
  });

  it('keeps an output layer that only the weights tell of', async () => {
    const [from, out] = [fresh(), fresh()];
    writeCheckpoint(from, { change: (t) => Object.assign(t, { 'lm_head.weight': floats([70, 40], (i) => i % 7) }) });
    await convertFolder(from, out);
    expect((await readConfig(out)).tied).toBe(false);
  });

  it('says what is missing for text', async () => {
    const [from, out] = [fresh(), fresh()];
    writeCheckpoint(from);
    rmSync(join(from, 'tokenizer.json'));
    const { notes } = await convertFolder(from, out);
    expect(notes.join('\n')).toMatch(
      /has no tokenizer \(tokenizer\.json, or spiece\.model, or vocab\.json with merges\.txt\)/,
    );
  });
});

describe('the output folder', () => {
  it('replaces an earlier pre-quantized folder, and an empty one', async () => {
    const out = fresh();
    mkdirSync(out);
    await convertFolder(source, out);
    const other = fresh();
    writeCheckpoint(other, { seed: 2 });
    await convertFolder(other, out);
    expect(readdirSync(out)).toEqual(['config.json', 'model.int8.safetensors', 'tokenizer.json']);
    const again = fresh();
    await convertFolder(other, again);
    expect(content(out)).toEqual(content(again));
  });

  it.each<[string, (dir: string) => void, RegExp]>([
    ['other files', (dir) => writeFileSync(join(dir, 'thesis.md'), 'text'), /other files \(thesis\.md\)/],
    ['an original model', (dir) => void writeCheckpoint(dir), /other files \(model\.safetensors\)/],
    ['a configuration alone', (dir) => writeFileSync(join(dir, 'config.json'), '{}'), /no pre-quantized model/],
  ])('leaves a folder with %s as it is', async (_, fill, message) => {
    const out = fresh();
    mkdirSync(out);
    fill(out);
    const before = content(out);
    const error = await rejection(convertFolder(source, out));
    expect(error).toBeInstanceOf(OutputFolderError);
    expect(error.message).toMatch(message);
    expect(content(out)).toEqual(before);
  });

  it('leaves a file, and the model itself, as they are', async () => {
    const file = fresh();
    writeFileSync(file, 'text');
    expect(await rejection(convertFolder(source, file))).toBeInstanceOf(OutputFolderError);
    expect(readFileSync(file, 'utf8')).toBe('text');
    const model = fresh();
    await convertFolder(source, model);
    const link = fresh();
    symlinkSync(model, link);
    for (const out of [model, link]) {
      const error = await rejection(convertFolder(model, out));
      expect(error.message).toMatch(/is the model itself/);
    }
    expect(existsSync(join(model, 'model.int8.safetensors'))).toBe(true);
  });

  it('is not made from what is no model, and an earlier one stays when it goes wrong', async () => {
    const out = fresh();
    const empty = fresh();
    mkdirSync(empty);
    expect(await rejection(convertFolder(empty, out))).toBeInstanceOf(NotAModelError);
    expect(await rejection(convertFolder(join(empty, 'none'), out))).toBeInstanceOf(NotAModelError);
    expect(existsSync(out)).toBe(false);
    await convertFolder(source, out);
    const before = content(out);
    const broken = fresh();
    writeCheckpoint(broken, { change: (t) => delete t['decoder.final_layer_norm.weight'] });
    expect(await rejection(convertFolder(broken, out))).toBeInstanceOf(TensorError);
    const cancelled = convertFolder(source, out, { signal: { aborted: true } });
    expect(await rejection(cancelled)).toMatchObject({ code: 'cancelled' });
    expect(content(out)).toEqual(before);
    expect(readdirSync(folder).filter((name) => name.includes('tmp'))).toEqual([]);
    rmSync(out, { recursive: true });
  });
});
