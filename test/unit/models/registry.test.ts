import { describe, expect, it } from 'vitest';
import { candidates } from '../../../server/engine/select';
import { figuresOf } from '../../../server/models/figures';
import { knownModel, knownModels } from '../../../server/models/registry';
import { profileFor } from '../../../server/tasks/profiles';

const models = knownModels();

describe('the registry', () => {
  it('has figures that the functions of the memory check give', () => {
    for (const { repository, config, parameters, int8Bytes, memory } of models) {
      expect({ repository, parameters, int8Bytes, memory }).toEqual({ repository, ...figuresOf(config, candidates()) });
    }
  });

  it('has each model once, under a name of its own', () => {
    expect(new Set(models.map(({ repository }) => repository.toLowerCase())).size).toBe(models.length);
    expect(new Set(models.map(({ name }) => name.toLowerCase())).size).toBe(models.length);
    for (const { repository } of models) expect(repository).toMatch(/^[\w-]+\/[\w.-]+$/);
  });

  it('has every member of the family', () => {
    const sizes = ['small', 'base', 'large', 'xl', 'xxl'];
    const wanted = [
      ...sizes.flatMap((size) => [`google/flan-t5-${size}`, `google/t5-v1_1-${size}`, `google/mt5-${size}`]),
      ...['small', 'base', 'large', '3b', '11b'].map((size) => `google-t5/t5-${size}`),
      ...['small', 'base', 'xl', 'xxl'].map((size) => `google/umt5-${size}`),
      ...['google/ul2', 'google/flan-ul2'],
      ...['small', 'base', 'base-multi-sum', 'large'].map((name) => `Salesforce/codet5-${name}`),
      ...['220m', '770m'].map((name) => `Salesforce/codet5p-${name}`),
    ];
    expect(models.map(({ repository }) => repository).sort()).toEqual(wanted.sort());
  });

  it('has published sizes', () => {
    // Millions of parameters as the cards of these models tell them.
    const published = {
      'flan-t5-base': 248,
      'flan-ul2': 19460,
      't5-small': 60.5,
      'mt5-small': 300,
      'codet5-base': 223,
    };
    for (const [name, millions] of Object.entries(published)) {
      expect((knownModel(name)?.parameters ?? 0) / 1e6 / millions, name).toBeCloseTo(1, 2);
    }
    // Bytes of the weights on the hub.
    expect((knownModel('google/umt5-small')?.downloadBytes ?? 0) / 1.23e9).toBeCloseTo(1, 1);
    expect((knownModel('Salesforce/codet5p-220m')?.downloadBytes ?? 0) / 446e6).toBeCloseTo(1, 2);
  });

  it('says what each is good and bad at, in both languages', () => {
    for (const { repository, good, bad, note, licence, window, trainedLength, tasks } of models) {
      for (const words of [good, bad, ...(note === undefined ? [] : [note])]) {
        expect(words.en, repository).toMatch(/^[A-Z].*\.$/);
        expect(words.en, repository).not.toMatch(/\p{Script=Han}/u);
        expect(words.zh, repository).toMatch(/\p{Script=Han}.*。$/u);
      }
      expect(['Apache-2.0', 'BSD-3-Clause']).toContain(licence);
      expect(window).toBeGreaterThanOrEqual(trainedLength);
      expect(tasks.length).toBeGreaterThan(0);
    }
  });

  it('agrees with how the models are asked', () => {
    for (const { name, repository, config, family, window, trainedLength } of models) {
      for (const called of [name, repository]) {
        expect(profileFor(called, config), called).toMatchObject({ family, window, trainedLength });
      }
    }
  });

  it('finds a model by its repository or by its installed name, whatever the case', () => {
    expect(knownModel('google/Flan-UL2')?.name).toBe('flan-ul2');
    expect(knownModel('flan-ul2')?.repository).toBe('google/flan-ul2');
    expect(knownModel('someone/flan-ul2-tuned')).toBeUndefined();
  });
});
