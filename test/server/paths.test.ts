import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { homedir, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createFolders, flanHome, flanPaths, socketAddress } from '../../server/paths';
import { modelFolders } from '../../server/runtime/models';
import { folderName } from '../../server/weights/hub/cache';
import { CHECKPOINT } from './cli_home';

const posix = process.platform !== 'win32';
let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'flan-paths-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

describe('flanHome', () => {
  it('is FLAN_HOME, made absolute, or the platform folder', () => {
    expect(flanHome({ FLAN_HOME: '/data/flan' }, 'linux')).toBe(resolve('/data/flan'));
    expect(flanHome({ FLAN_HOME: 'here' }, 'linux')).toBe(resolve('here'));
    expect(flanHome({ FLAN_HOME: '' }, 'linux')).toBe(join(homedir(), '.local', 'share', 'flan'));
    expect(flanHome({ XDG_DATA_HOME: '/xdg' }, 'linux')).toBe(join('/xdg', 'flan'));
    expect(flanHome({ XDG_DATA_HOME: 'relative' }, 'linux')).toBe(join(homedir(), '.local', 'share', 'flan'));
    expect(flanHome({}, 'darwin')).toBe(join(homedir(), 'Library', 'Application Support', 'flan'));
    expect(flanHome({ LOCALAPPDATA: '/local' }, 'win32')).toBe(join('/local', 'flan'));
  });
});

describe.skipIf(!posix)('the private folders', () => {
  it('are made for the user alone', () => {
    const paths = flanPaths(join(dir, 'home'));
    createFolders(paths);
    expect(statSync(paths.run).mode & 0o777).toBe(0o700);
  });

  it('are refused when others may enter, or when they are links', () => {
    const paths = flanPaths(join(dir, 'home'));
    createFolders(paths);
    chmodSync(paths.run, 0o755);
    expect(() => createFolders(paths)).toThrow(/not yours alone/);
    const other = flanPaths(join(dir, 'other'));
    mkdirSync(other.home, { recursive: true });
    symlinkSync(paths.logs, other.run);
    expect(() => createFolders(other)).toThrow(/not yours alone/);
  });

  it('hold the socket where its path is short enough, and differ by home where it is not', () => {
    expect(socketAddress(flanPaths(dir))).toBe(join(dir, 'run', 'socket'));
    const env = { XDG_RUNTIME_DIR: dir };
    const long = (name: string) => socketAddress(flanPaths(join(dir, name.repeat(120))), env);
    expect(long('a').startsWith(dir)).toBe(true);
    expect(Buffer.byteLength(long('a'))).toBeLessThanOrEqual(107);
    expect(long('a')).not.toBe(long('b'));
    expect(long('a')).toBe(long('a'));
  });
});

describe('folderName', () => {
  it('is the folder, or the model of a hub cache', () => {
    expect(folderName(join(dir, 'flan-t5-xl'))).toBe('flan-t5-xl');
    expect(folderName(`${join(dir, 'flan-t5-xl')}/`)).toBe('flan-t5-xl');
    expect(folderName(join(dir, 'models--google--flan-t5-small', 'snapshots', '0fc9ddf'))).toBe('flan-t5-small');
    expect(folderName(join(dir, 'models--t5-small', 'snapshots', 'df1b051'))).toBe('t5-small');
  });
});

describe('modelFolders', () => {
  const starter = join(import.meta.dirname, '..', '..', 'models', 'starter');
  const names = async (model: string | undefined) =>
    (await modelFolders({ models: join(dir, 'models') }, model, starter)).map(({ name, demo }) => `${name} ${demo}`);

  it('knows a model by name, by hub name and by path, and by default takes the largest, the built-in one last', async () => {
    cpSync(CHECKPOINT, join(dir, 'models', 'small'), { recursive: true });
    cpSync(starter, join(dir, 'models', 'large'), { recursive: true });
    expect(await names(undefined)).toEqual(['large false', 'small false', 'starter true']);
    expect(await names('small')).toEqual(['small false']);
    expect(await names('google/small')).toEqual(['small false']);
    expect(await names(join(dir, 'models', 'small'))).toEqual(['small false']);
    expect(await names('starter')).toEqual(['starter true']);
    expect(await names(starter)).toEqual(['starter true']);
    for (const unknown of ['tiny', 'google/tiny', '../small', '../models/small', join(dir, 'none')]) {
      await expect(names(unknown)).rejects.toThrow(/Installed: large, small, starter/);
    }
  });

  it('says what to do when there is none', async () => {
    const none = modelFolders({ models: join(dir, 'models') }, undefined, join(dir, 'no-starter'));
    await expect(none).rejects.toMatchObject({ code: 'no-model' });
  });

  it('tells a changed folder from what it was', async () => {
    const model = join(dir, 'model');
    cpSync(CHECKPOINT, model, { recursive: true });
    const state = async () => (await modelFolders({ models: dir }, model, starter))[0]?.state;
    const before = await state();
    expect(await state()).toBe(before);
    writeFileSync(join(model, 'config.json'), '{}');
    expect(await state()).not.toBe(before);
  });
});
