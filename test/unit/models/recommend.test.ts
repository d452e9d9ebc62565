import { describe, expect, it } from 'vitest';
import type { Probe } from '../../../server/engine/candidate';
import type { EngineName } from '../../../server/engine/engine';
import { candidates } from '../../../server/engine/select';
import { available, type Place } from '../../../server/models/recommend';
import { knownModels } from '../../../server/models/registry';

function place(name: EngineName, probe: Partial<Probe>, heldBytes = 0): Place {
  const engine = candidates().find((candidate) => candidate.name === name);
  if (engine === undefined) throw new Error(`no engine ${name}`);
  return { engine, probe: { ok: true, detail: `a ${name}`, ...probe }, heldBytes };
}

function on(places: readonly Place[], diskBytes: number | undefined = 500e9, installed: readonly string[] = []) {
  const models = available(knownModels(), { places, diskBytes, installed: new Set(installed) });
  return {
    recommended: models.filter(({ recommended }) => recommended).map(({ name }) => name),
    model: (name: string) => models.find((model) => model.name === name),
  };
}

const laptop = place('cpu', { freeBytes: 10e9 });

describe('the recommendation', () => {
  it('is the largest trained model that the card has room for', () => {
    expect(on([place('cuda', { freeBytes: 79e9 }), laptop]).recommended).toEqual(['flan-ul2']);
    expect(on([place('cuda', { freeBytes: 23.6e9 }), laptop]).recommended).toEqual(['flan-ul2']);
    expect(on([place('cuda', { freeBytes: 15.5e9 }), laptop]).recommended).toEqual(['flan-t5-xxl']);
    expect(on([place('webgpu', { freeBytes: 7e9 }), laptop]).recommended).toEqual(['flan-t5-xl']);
  });

  it('is one that a processor answers with in good time, however much memory there is', () => {
    expect(on([laptop]).recommended).toEqual(['flan-t5-large']);
    expect(on([place('cpu', { freeBytes: 256e9 })]).recommended).toEqual(['flan-t5-large']);
    expect(on([place('cpu', { freeBytes: 0.9e9 })]).recommended).toEqual(['flan-t5-base']);
    expect(on([place('cpu', { freeBytes: 0.1e9 })]).recommended).toEqual([]);
  });

  it('counts neither software adapters nor GPUs whose memory nobody tells', () => {
    expect(on([place('webgpu', { freeBytes: 90e9, software: true }), laptop]).recommended).toEqual(['flan-t5-large']);
    expect(on([place('webgpu', {}), laptop]).recommended).toEqual(['flan-t5-large']);
    expect(on([place('cuda', { ok: false, freeBytes: 90e9 }), laptop]).recommended).toEqual(['flan-t5-large']);
  });

  it('needs room on the disk, unless the model is there already', () => {
    const card = place('cuda', { freeBytes: 79e9 });
    expect(on([card], 15e9).recommended).toEqual(['flan-t5-xxl']);
    expect(on([card], 15e9, ['flan-ul2']).recommended).toEqual(['flan-ul2']);
    expect(on([card], undefined).recommended).toEqual(['flan-ul2']);
    expect(on([card], 15e9).model('flan-ul2')).toMatchObject({ diskFits: false, installed: false });
  });
});

describe('what fits', () => {
  it('counts what other programs hold, and what the loaded model would give back', () => {
    const busy = { freeBytes: 3e9, totalBytes: 24e9 };
    expect(on([place('cuda', busy)]).model('flan-ul2')?.engines).toMatchObject([{ engine: 'cuda', fits: false }]);
    expect(on([place('cuda', busy, 20e9)]).model('flan-ul2')?.engines).toMatchObject([
      { engine: 'cuda', fits: true, freeBytes: 23e9, device: 'a cuda' },
    ]);
  });

  it('lists the engines in their order', () => {
    const { engines } = on([place('cuda', { freeBytes: 1e9 }), laptop]).model('flan-t5-xl') ?? { engines: [] };
    expect(engines.map(({ engine, fits }) => [engine, fits])).toEqual([
      ['cuda', false],
      ['cpu', true],
    ]);
  });
});
