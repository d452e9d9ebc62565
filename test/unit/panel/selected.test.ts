// What a selected text is: labelled examples, a table, or one input.
import { expect, it } from 'vitest';
import { examplesInText } from '../../../src/panel/selected';

it('finds examples with the labels of the set, or with the usual ones', () => {
  const two = [
    { input: 'a\nb', output: 'x' },
    { input: 'c', output: 'y' },
  ];
  expect(examplesInText('Q: a\nb\nA: x\n\nQ: c\nA: y\n', 'io')).toEqual(two);
  expect(examplesInText('Log: a\nb\nKind: x\nLog: c\nKind: y', { input: 'Log', output: 'Kind' })).toEqual(two);
  expect(examplesInText('C++ (x): a\nb\nA: x\nC++ (x): c\nA: y', { input: 'C++ (x)', output: 'A' })).toEqual(two);
});

it('finds tables, but takes prose and code for what they are', () => {
  expect(examplesInText('a\tx\nb\ty', 'qa')).toMatchObject({ format: 'tsv' });
  expect(examplesInText('| in | out |\n| --- | --- |\n| a | b |', 'qa')).toMatchObject({ format: 'markdown' });
  expect(examplesInText('First, this.\nThen, that.', 'qa')).toBeUndefined();
  expect(examplesInText('def f(a, b):\n    return g(a, b)', 'qa')).toBeUndefined();
  expect(examplesInText('Q: no answer to this', 'qa')).toBeUndefined();
});
