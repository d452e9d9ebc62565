// What is said when ONNX Runtime cannot open a model.
import { expect, it } from 'vitest';
import { EngineError, MemoryRefusedError } from '../../../server/engine/errors';
import { type Ort, openSession } from '../../../server/engine/onnx/session';
import { rejection } from '../weights/support';

/** ONNX Runtime that fails with these words. */
function failing(words: string): Ort {
  const create = () => Promise.reject(new Error(words));
  return { InferenceSession: { create } } as unknown as Ort;
}

const open = (words: string) =>
  rejection(
    openSession(failing(words), new Uint8Array(), { provider: 'cpu', threads: 1, outputs: [], hostOutputs: [] }),
  );

it('memory that the system refuses is told as such', async () => {
  for (const words of [
    'Exception during initialization: std::bad_alloc',
    'Exception during initialization: bad allocation',
    'Failed to allocate memory for requested buffer of size 536870912',
  ]) {
    expect(await open(words)).toBeInstanceOf(MemoryRefusedError);
  }
  expect((await open('std::bad_alloc')).message).toMatch(/^There was not enough memory .*smaller model\.$/);
});

it('anything else is the engine, with its reason', async () => {
  const error = await open('Node (x) has an input of a wrong type');
  expect(error).toBeInstanceOf(EngineError);
  expect(error.message).toMatch(/wrong type/);
});
