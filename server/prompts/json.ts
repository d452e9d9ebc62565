/**
 * A JSON reader that knows on which line everything stands. `JSON.parse` says where a text is broken in words that differ
 * between versions, and of a text that is not broken it forgets the lines, which a message about a wrong value needs.
 */

import { inEnglish, type Saying, say } from '../saying';

/** Nothing that people write is nested deeper; without a limit a hostile file overflows the stack. */
const MAX_DEPTH = 64;

export class JsonError extends Error {
  /** 1-based. */
  readonly line: number;

  /** What is wrong, as a sentence. */
  readonly why: Saying;

  constructor(line: number, why: Saying) {
    super(inEnglish(why));
    this.line = line;
    this.why = why;
  }
}

export type Path = readonly (string | number)[];

export interface LocatedJson {
  readonly value: unknown;
  /** 1-based line where the value at `path` begins, or the nearest one around it that exists. */
  readonly lineOf: (path: Path) => number;
}

/** @throws JsonError */
export function parseJson(text: string): LocatedJson {
  const reader = new Reader(text.replace(/^\ufeff/, ''));
  const value = reader.document();
  return {
    value,
    lineOf: (path) => {
      for (let length = path.length; length > 0; length--) {
        const line = reader.lines.get(keyOf(path.slice(0, length)));
        if (line !== undefined) return line;
      }
      return reader.lines.get(keyOf([])) ?? 1;
    },
  };
}

function keyOf(path: Path): string {
  return JSON.stringify(path);
}

class Reader {
  readonly lines = new Map<string, number>();
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  document(): unknown {
    const conflict = /^(?:<{7} |={7}$|>{7} )/m.exec(this.#text);
    if (conflict !== null) {
      const line = this.#text.slice(0, conflict.index).split('\n').length;
      throw new JsonError(line, say('A merge conflict is not resolved.'));
    }
    this.#blank();
    if (this.#at === this.#text.length) throw this.#error(say('The file is empty.'));
    const value = this.#value([]);
    this.#blank();
    if (this.#at < this.#text.length) throw this.#error(say('{0} stands after the end.', this.#seen()));
    return value;
  }

  #value(path: (string | number)[]): unknown {
    if (path.length > MAX_DEPTH) throw this.#error(say('This is nested too deeply.'));
    this.lines.set(keyOf(path), this.#line);
    const char = this.#text.charAt(this.#at);
    if (char === '{') return this.#object(path);
    if (char === '[') return this.#array(path);
    if (char === '"') return this.#string();
    const word = /(?:-?\d[\d.eE+-]*|[a-zA-Z]+)/y;
    word.lastIndex = this.#at;
    const found = word.exec(this.#text)?.[0];
    if (found === undefined) throw this.#error(say('A value is missing before {0}.', this.#seen()));
    try {
      const value: unknown = JSON.parse(found);
      this.#at += found.length;
      return value;
    } catch {
      throw this.#error(say('{0} is no JSON value; put text between double quotes.', found));
    }
  }

  #object(path: (string | number)[]): Record<string, unknown> {
    const object: Record<string, unknown> = {};
    this.#at++;
    this.#blank();
    while (!this.#take('}')) {
      if (this.#text.charAt(this.#at) !== '"')
        throw this.#error(say('A name in double quotes belongs here, not {0}.', this.#seen()));
      const name = this.#string();
      if (Object.hasOwn(object, name)) throw this.#error(say('"{0}" is given twice.', name));
      this.#blank();
      if (!this.#take(':')) throw this.#error(say('A colon is missing after "{0}".', name));
      this.#blank();
      const value = this.#value([...path, name]);
      // Assigned, `__proto__` would be no field.
      Object.defineProperty(object, name, { value, enumerable: true, writable: true, configurable: true });
      this.#separator('}');
    }
    return object;
  }

  #array(path: (string | number)[]): unknown[] {
    const array: unknown[] = [];
    this.#at++;
    this.#blank();
    while (!this.#take(']')) {
      array.push(this.#value([...path, array.length]));
      this.#separator(']');
    }
    return array;
  }

  /** After a value: a comma and another one, or the end. */
  #separator(end: string): void {
    this.#blank();
    if (this.#text.charAt(this.#at) === end) return;
    if (!this.#take(',')) throw this.#error(say('A comma or {0} is missing before {1}.', end, this.#seen()));
    this.#blank();
    if (this.#text.charAt(this.#at) === end) throw this.#error(say('There is a comma too many before {0}.', end));
  }

  #string(): string {
    const literal = /"(?:[^"\\\n\r]|\\[^\n\r])*"/y;
    literal.lastIndex = this.#at;
    const found = literal.exec(this.#text)?.[0];
    if (found === undefined) throw this.#error(say('A text has no closing double quote on its line.'));
    try {
      const value: unknown = JSON.parse(found);
      this.#at += found.length;
      return String(value);
    } catch {
      throw this.#error(
        say(
          'The text {0} has an escape (with a backslash) or a control character that JSON does not allow.',
          shortened(found),
        ),
      );
    }
  }

  #take(char: string): boolean {
    if (this.#text.charAt(this.#at) !== char) return false;
    this.#at++;
    return true;
  }

  #blank(): void {
    for (;;) {
      const char = this.#text.charAt(this.#at);
      if (char === '\n') this.#line++;
      else if (char !== ' ' && char !== '\t' && char !== '\r') return;
      this.#at++;
    }
  }

  #seen(): string | Saying {
    const rest = /\S+/y;
    rest.lastIndex = this.#at;
    const found = rest.exec(this.#text)?.[0];
    return found === undefined ? say('the end of the file') : shortened(found);
  }

  #error(why: Saying): JsonError {
    return new JsonError(this.#line, why);
  }
}

function shortened(text: string): string {
  return text.length > 24 ? `${text.slice(0, 23)}…` : text;
}
