/**
 * The inner loop of SHA-256 as a WebAssembly module, assembled here: all 64 rounds written out, so that the eight working
 * variables and the sixteen words of the schedule stay in registers. JavaScript takes several times as long.
 *
 * Memory: the eight words of the state at 0, the blocks from INPUT on.
 */

import {
  type Code,
  doWhile,
  get,
  I32,
  I32_ADD,
  I32_AND,
  I32_LT_U,
  I32_OR,
  I32_ROTL,
  I32_ROTR,
  I32_SHR_U,
  I32_XOR,
  i32Const,
  i32Load,
  i32Store,
  set,
  wasmModule,
} from '../wasm';

/** Where the bytes to hash are put. */
export const INPUT = 64;
/** One page of memory has 64 KiB; the state takes a block of it. */
export const INPUT_BYTES = 65536 - 64;

/** `blocks(from, to)`: hashes the blocks between two addresses into the state. */
export interface Sha256Exports {
  readonly blocks: (from: number, to: number) => void;
}

/** The first 32 bits of the fractional parts of the cube roots of the first 64 primes; of the square roots of the first 8. */
const { rounds: K, start: START } = constants();

export { START };

// Locals: 0 the address of a block, 1 the end, 2-9 the working variables, 10-25 the schedule, 26 and 27 the sums of a round.
const A = 2;
const W = 10;
const T1 = 26;
const T2 = 27;

const bits = (count: number, operation: Code): Code => [...i32Const(count), ...operation];

/** Two rotations of a local and a third one, or a shift, all of them added without carry. */
const sigma = (local: number, a: number, b: number, third: Code) => [
  ...[...get(local), ...bits(a, I32_ROTR)],
  ...[...get(local), ...bits(b, I32_ROTR), ...I32_XOR],
  ...[...get(local), ...third, ...I32_XOR],
];

function block(): number[] {
  const code: number[] = [];
  for (let i = 0; i < 8; i++) code.push(...i32Const(0), ...i32Load(i * 4), ...set(A + i));
  for (let i = 0; i < 16; i++) {
    // Words are big-endian.
    code.push(...get(0), ...i32Load(i * 4), ...set(T1));
    code.push(...get(T1), ...bits(8, I32_ROTL), ...i32Const(0x00ff00ff), ...I32_AND);
    code.push(...get(T1), ...bits(8, I32_ROTR), ...i32Const(0xff00ff00 | 0), ...I32_AND, ...I32_OR, ...set(W + i));
  }
  for (let i = 0; i < 64; i++) {
    // Instead of moving eight values on, their names move.
    const name = (n: number) => A + ((n - i + 64) % 8);
    const [a, b, c, d, e, f, g, h] = [0, 1, 2, 3, 4, 5, 6, 7].map(name) as [
      number,
      number,
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    const w = W + (i % 16);
    if (i >= 16) {
      code.push(...get(w), ...sigma(W + ((i + 1) % 16), 7, 18, bits(3, I32_SHR_U)), ...I32_ADD);
      code.push(...get(W + ((i + 9) % 16)), ...I32_ADD);
      code.push(...sigma(W + ((i + 14) % 16), 17, 19, bits(10, I32_SHR_U)), ...I32_ADD, ...set(w));
    }
    code.push(...get(h), ...sigma(e, 6, 11, bits(25, I32_ROTR)), ...I32_ADD);
    code.push(...get(g), ...get(e), ...get(f), ...get(g), ...I32_XOR, ...I32_AND, ...I32_XOR, ...I32_ADD);
    code.push(...i32Const(K[i] ?? 0), ...I32_ADD, ...get(w), ...I32_ADD, ...set(T1));
    code.push(...sigma(a, 2, 13, bits(22, I32_ROTR)));
    code.push(
      ...get(a),
      ...get(b),
      ...I32_AND,
      ...get(c),
      ...get(a),
      ...get(b),
      ...I32_OR,
      ...I32_AND,
      ...I32_OR,
      ...I32_ADD,
      ...set(T2),
    );
    code.push(...get(d), ...get(T1), ...I32_ADD, ...set(d));
    code.push(...get(T1), ...get(T2), ...I32_ADD, ...set(h));
  }
  for (let i = 0; i < 8; i++) {
    code.push(...i32Const(0), ...i32Const(0), ...i32Load(i * 4), ...get(A + i), ...I32_ADD, ...i32Store(i * 4));
  }
  return code;
}

/** `blocks(from, to)`, on a memory of at least one page; from < to. */
export function sha256Module(): Uint8Array<ArrayBuffer> {
  const next = [...get(0), ...i32Const(64), ...I32_ADD, ...set(0)];
  const locals = Array.from({ length: 26 }, () => I32);
  const code = doWhile([...block(), ...next], [...get(0), ...get(1), ...I32_LT_U]);
  return wasmModule([{ name: 'blocks', parameters: [I32, I32], result: undefined, locals, code }]);
}

function constants(): { readonly rounds: Int32Array; readonly start: Int32Array } {
  const isPrime = (n: number) => {
    for (let d = 2; d * d <= n; d++) if (n % d === 0) return false;
    return true;
  };
  const fraction = (x: number) => Math.floor((x - Math.floor(x)) * 2 ** 32) | 0;
  const rounds = new Int32Array(64);
  const start = new Int32Array(8);
  for (let n = 2, i = 0; i < 64; n++) {
    if (!isPrime(n)) continue;
    if (i < 8) start[i] = fraction(Math.sqrt(n));
    rounds[i++] = fraction(Math.cbrt(n));
  }
  return { rounds, start };
}
