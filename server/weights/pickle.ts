/**
 * Reads the part of Python's pickle format that torch.save writes for a dictionary of tensors. A pickle is a program for a
 * stack machine, and Python's own reader can be made to call any function. This one has no calls: whatever it is asked to
 * build is given to the caller by name, who knows a handful of names and refuses the others.
 */

/** The pickle is damaged, or asks for something that a dictionary of tensors does not need. */
export class PickleError extends Error {}

/** A class or function by its Python name, `module.name`. */
export class Global {
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

export interface PickleHost {
  /** What a persistent id (`storage` …) stands for. */
  persistent(id: unknown): unknown;
  /** What calling `name` with `args` gives. */
  call(name: string, args: readonly unknown[]): unknown;
}

/**
 * Instructions that are carried out at most. A tensor takes about 40 and the largest T5 has under 1000. Every instruction may
 * leave something in memory: without a limit, 16 MB of them could take gigabytes.
 */
const MAX_STEPS = 1_000_000;

const MARK = Symbol('mark');

/** Names of the opcodes that are read, as pickletools has them, by their byte. */
const OP = {
  PROTO: 0x80,
  FRAME: 0x95,
  STOP: 0x2e,
  MARK: 0x28,
  POP: 0x30,
  POP_MARK: 0x31,
  NONE: 0x4e,
  NEWTRUE: 0x88,
  NEWFALSE: 0x89,
  BININT: 0x4a,
  BININT1: 0x4b,
  BININT2: 0x4d,
  LONG1: 0x8a,
  BINFLOAT: 0x47,
  BINUNICODE: 0x58,
  SHORT_BINUNICODE: 0x8c,
  BINSTRING: 0x54,
  SHORT_BINSTRING: 0x55,
  EMPTY_TUPLE: 0x29,
  TUPLE: 0x74,
  TUPLE1: 0x85,
  TUPLE2: 0x86,
  TUPLE3: 0x87,
  EMPTY_LIST: 0x5d,
  APPEND: 0x61,
  APPENDS: 0x65,
  EMPTY_DICT: 0x7d,
  SETITEM: 0x73,
  SETITEMS: 0x75,
  GLOBAL: 0x63,
  STACK_GLOBAL: 0x93,
  REDUCE: 0x52,
  NEWOBJ: 0x81,
  BUILD: 0x62,
  BINPERSID: 0x51,
  BINPUT: 0x71,
  LONG_BINPUT: 0x72,
  MEMOIZE: 0x94,
  BINGET: 0x68,
  LONG_BINGET: 0x6a,
} as const;

/**
 * Runs one pickle.
 *
 * @param bytes the file or a part of it; `start` is where the pickle begins.
 * @returns the value (dictionaries as Map, tuples and lists as arrays) and where the next byte after the pickle is.
 * @throws PickleError, also for what `host` refuses.
 */
export function unpickle(bytes: Uint8Array, start: number, host: PickleHost): { value: unknown; end: number } {
  return new Machine(bytes, start, host).run();
}

class Machine {
  readonly #view: DataView;
  readonly #bytes: Uint8Array;
  readonly #host: PickleHost;
  readonly #stack: unknown[] = [];
  readonly #memo = new Map<number, unknown>();
  #at: number;

  constructor(bytes: Uint8Array, start: number, host: PickleHost) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#at = start;
    this.#host = host;
  }

  run(): { value: unknown; end: number } {
    for (let steps = 0; ; steps++) {
      if (steps > MAX_STEPS) throw new PickleError(`takes more than ${MAX_STEPS} instructions`);
      const op = this.#uint(1);
      if (op === OP.STOP) return { value: this.#pop(), end: this.#at };
      this.#step(op);
    }
  }

  #step(op: number): void {
    switch (op) {
      case OP.PROTO:
        this.#take(1);
        return;
      case OP.FRAME:
        this.#take(8);
        return;
      case OP.MARK:
        this.#push(MARK);
        return;
      case OP.POP:
        this.#stack.pop();
        return;
      case OP.POP_MARK:
        this.#toMark();
        return;
      case OP.GLOBAL:
        this.#push(new Global(`${this.#line()}.${this.#line()}`));
        return;
      case OP.STACK_GLOBAL: {
        const name = this.#string(this.#pop());
        this.#push(new Global(`${this.#string(this.#pop())}.${name}`));
        return;
      }
      case OP.REDUCE:
      case OP.NEWOBJ: {
        const args = this.#pop();
        const called = this.#pop();
        if (!(called instanceof Global) || !Array.isArray(args)) throw new PickleError('calls what is no function');
        this.#push(this.#host.call(called.name, args));
        return;
      }
      case OP.BUILD:
        // Attributes of the object: those of a dictionary say nothing that is needed here.
        this.#pop();
        if (!(this.#stack.at(-1) instanceof Map)) throw new PickleError('sets attributes of what is no dictionary');
        return;
      case OP.BINPERSID:
        this.#push(this.#host.persistent(this.#pop()));
        return;
      default:
        if (!this.#value(op) && !this.#container(op) && !this.#memory(op)) {
          throw new PickleError(`has the opcode 0x${op.toString(16)}, which is not read`);
        }
    }
  }

  /** Numbers, strings and constants. */
  #value(op: number): boolean {
    switch (op) {
      case OP.NONE:
        return this.#push(null);
      case OP.NEWTRUE:
        return this.#push(true);
      case OP.NEWFALSE:
        return this.#push(false);
      case OP.BININT:
        return this.#push(this.#view.getInt32(this.#take(4), true));
      case OP.BININT1:
        return this.#push(this.#uint(1));
      case OP.BININT2:
        return this.#push(this.#uint(2));
      case OP.LONG1:
        return this.#push(this.#long(this.#uint(1)));
      case OP.BINFLOAT:
        return this.#push(this.#view.getFloat64(this.#take(8)));
      case OP.BINUNICODE:
      case OP.BINSTRING:
        return this.#push(this.#text(this.#uint(4)));
      case OP.SHORT_BINUNICODE:
      case OP.SHORT_BINSTRING:
        return this.#push(this.#text(this.#uint(1)));
      default:
        return false;
    }
  }

  #container(op: number): boolean {
    switch (op) {
      case OP.EMPTY_TUPLE:
      case OP.EMPTY_LIST:
        return this.#push([]);
      case OP.EMPTY_DICT:
        return this.#push(new Map());
      case OP.TUPLE:
        return this.#push(this.#toMark());
      case OP.TUPLE1:
        return this.#push([this.#pop()]);
      case OP.TUPLE2:
        return this.#push([this.#pop(), this.#pop()].reverse());
      case OP.TUPLE3:
        return this.#push([this.#pop(), this.#pop(), this.#pop()].reverse());
      case OP.APPEND:
        return this.#append([this.#pop()]);
      case OP.APPENDS:
        return this.#append(this.#toMark());
      case OP.SETITEM:
        return this.#set([this.#pop(), this.#pop()].reverse());
      case OP.SETITEMS:
        return this.#set(this.#toMark());
      default:
        return false;
    }
  }

  #memory(op: number): boolean {
    switch (op) {
      case OP.BINPUT:
        this.#memo.set(this.#uint(1), this.#stack.at(-1));
        return true;
      case OP.LONG_BINPUT:
        this.#memo.set(this.#uint(4), this.#stack.at(-1));
        return true;
      case OP.MEMOIZE:
        this.#memo.set(this.#memo.size, this.#stack.at(-1));
        return true;
      case OP.BINGET:
        return this.#recall(this.#uint(1));
      case OP.LONG_BINGET:
        return this.#recall(this.#uint(4));
      default:
        return false;
    }
  }

  #recall(key: number): boolean {
    if (!this.#memo.has(key)) throw new PickleError('refers to what it has not defined');
    return this.#push(this.#memo.get(key));
  }

  #append(items: readonly unknown[]): boolean {
    const list = this.#stack.at(-1);
    if (!Array.isArray(list)) throw new PickleError('appends to what is no list');
    for (const item of items) list.push(item);
    return true;
  }

  #set(items: readonly unknown[]): boolean {
    const map = this.#stack.at(-1);
    if (!(map instanceof Map) || items.length % 2 !== 0) throw new PickleError('sets items of what is no dictionary');
    for (let i = 0; i < items.length; i += 2) map.set(items[i], items[i + 1]);
    return true;
  }

  #push(value: unknown): true {
    this.#stack.push(value);
    return true;
  }

  #pop(): unknown {
    if (this.#stack.length === 0 || this.#stack.at(-1) === MARK) throw new PickleError('takes from an empty stack');
    return this.#stack.pop();
  }

  #toMark(): unknown[] {
    const mark = this.#stack.lastIndexOf(MARK);
    if (mark < 0) throw new PickleError('takes from an empty stack');
    const items = this.#stack.splice(mark);
    items.shift();
    return items;
  }

  /** Passes `count` bytes and gives where they begin. */
  #take(count: number): number {
    const at = this.#at;
    if (at + count > this.#bytes.length) throw new PickleError('ends too early');
    this.#at += count;
    return at;
  }

  #uint(count: 1 | 2 | 4): number {
    const at = this.#take(count);
    if (count === 1) return this.#view.getUint8(at);
    return count === 2 ? this.#view.getUint16(at, true) : this.#view.getUint32(at, true);
  }

  #long(count: number): number | bigint {
    const at = this.#take(count);
    let value = 0n;
    for (let i = count - 1; i >= 0; i--) value = (value << 8n) | BigInt(this.#view.getUint8(at + i));
    value = BigInt.asIntN(8 * count, value);
    return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
  }

  #text(length: number): string {
    const at = this.#take(length);
    return new TextDecoder().decode(this.#bytes.subarray(at, at + length));
  }

  #line(): string {
    const end = this.#bytes.indexOf(0x0a, this.#at);
    if (end < 0) throw new PickleError('ends too early');
    const text = this.#text(end - this.#at);
    this.#at = end + 1;
    return text;
  }

  #string(value: unknown): string {
    if (typeof value !== 'string') throw new PickleError('names a function by what is no string');
    return value;
  }
}
