// Which models leave for another one, and which stay beside it.
import { expect, it } from 'vitest';
import type { Candidate } from '../../../server/engine/candidate';
import type { Engine, EngineName } from '../../../server/engine/engine';
import { OutOfMemoryError } from '../../../server/engine/errors';
import { checkRoom, type HeldModel, makeRoom } from '../../../server/engine/room';
import type { EngineChoice } from '../../../server/protocol';

const sizeOf = (fileBytes: number) => ({ config: {} as never, fileBytes });

/** A machine whose engines have so much memory, and models that hold a part of it until they are freed. */
function machine(memory: Partial<Record<EngineName, number | undefined>>, models: [string, EngineName, number][]) {
  const held: (HeldModel & { readonly name: string })[] = models.map(([name, engine, bytes]) => ({
    ...{ name, engine, size: sizeOf(bytes) },
    free: async () => {
      held.splice(
        held.findIndex((model) => model.name === name),
        1,
      );
    },
  }));
  const candidates = Object.entries(memory).map(([name, bytes]): Candidate => {
    const taken = () => held.reduce((sum, { engine, size }) => sum + (engine === name ? size.fileBytes : 0), 0);
    return {
      name: name as EngineName,
      several: name !== 'cuda',
      needBytes: ({ fileBytes }) => fileBytes,
      probe: async () => ({ ok: true, detail: '', ...(bytes === undefined ? {} : { freeBytes: bytes - taken() }) }),
      create: async (): Promise<Engine> => Promise.reject(new Error('not in this test')),
    };
  });
  const after = async (bytes: number, choice: EngineChoice = 'auto') => {
    const request = { choice, weights: 'int8', held, candidates } as const;
    await checkRoom(sizeOf(bytes), request);
    await makeRoom(sizeOf(bytes), request);
    return held.map(({ name }) => name);
  };
  return { after };
}

it('what there is room for twice leaves the others where they are', async () => {
  const models: [string, EngineName, number][] = [
    ['old', 'cpu', 30],
    ['new', 'cpu', 20],
  ];
  expect(await machine({ cpu: 150 }, models).after(50)).toEqual(['old', 'new']);
});

it('else they leave, the one that was used last at the end, until there is', async () => {
  const models: [string, EngineName, number][] = [
    ['old', 'cpu', 30],
    ['new', 'cpu', 20],
  ];
  expect(await machine({ cpu: 149 }, models).after(50)).toEqual(['new']);
  expect(await machine({ cpu: 119 }, models).after(50)).toEqual([]);
  // Alone, it needs to fit only once.
  expect(await machine({ cpu: 50 }, models).after(50)).toEqual([]);
  await expect(machine({ cpu: 49 }, models).after(50)).rejects.toThrow(OutOfMemoryError);
});

it('those on another engine stay', async () => {
  const models: [string, EngineName, number][] = [
    ['card', 'cuda', 30],
    ['main', 'cpu', 20],
  ];
  expect(await machine({ cuda: 60, cpu: 40 }, models).after(20, 'cpu')).toEqual(['card']);
  expect(await machine({ cuda: 60, cpu: 40 }, models).after(50)).toEqual(['main']);
  // Where it does not fit the card, the next engine is the one.
  expect(await machine({ cuda: 60, cpu: 160 }, models).after(70)).toEqual(['card', 'main']);
});

it('an engine that holds one model at a time gives its memory first', async () => {
  expect(await machine({ cuda: 1000, cpu: 1000 }, [['card', 'cuda', 1]]).after(2)).toEqual([]);
});

it('where the free memory cannot be told, everything leaves', async () => {
  const models: [string, EngineName, number][] = [
    ['a', 'webgpu', 1],
    ['b', 'cpu', 1],
  ];
  expect(await machine({ webgpu: undefined, cpu: 1000 }, models).after(1)).toEqual([]);
});
