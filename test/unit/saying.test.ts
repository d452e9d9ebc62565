// Sentences with their arguments apart: said in English, and whole after a journey over the wire.

import { expect, it } from 'vitest';
import { ResponseError } from 'vscode-jsonrpc';
import { FlanError, UsageError } from '../../server/errors';
import { parsePromptSet } from '../../server/prompts/file';
import { fromResponseError, toResponseError } from '../../server/rpc/errors';
import { inEnglish, say } from '../../server/saying';

it('are filled in, one in another, and keep braces that are no places', () => {
  const inner = say('a number');
  expect(inEnglish(say('"{0}" is {1} from {2}, {9} {}.', 'beams', inner, 1))).toBe(
    '"beams" is a number from 1, {9} {}.',
  );
});

it('come out of the wire as they went in', () => {
  const error = new UsageError(say('Option {0} is one line of text.', 2));
  const sent = toResponseError(error);
  const wire = JSON.parse(JSON.stringify({ code: sent.code, message: sent.message, data: sent.data }));
  const got = fromResponseError(new ResponseError(wire.code, wire.message, wire.data));
  expect(got).toBeInstanceOf(UsageError);
  expect(got.message).toBe('Option 2 is one line of text.');
  expect(got.saying).toEqual(error.saying);
});

it('are missing where an error has none', () => {
  const sent = toResponseError(new FlanError('cuda', 'The driver is missing.'));
  expect(sent.data).toEqual({ code: 'cuda' });
  expect(fromResponseError(sent).saying).toBeUndefined();
});

it('of a prompt set that cannot be read name the file, the line and the reason', () => {
  const reading = () => parsePromptSet('{\n  "name": "a",\n  "examples": 3\n}', 'a.json');
  expect(reading).toThrow(
    expect.objectContaining({
      message: 'a.json, line 3: The examples are a list. Correct it there; the file was not changed.',
      saying: say(
        '{0}, line {1}: {2} Correct it there; the file was not changed.',
        'a.json',
        3,
        say('The examples are a list.'),
      ),
    }),
  );
});
