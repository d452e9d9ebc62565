/**
 * Writes small WebAssembly modules: as much of the binary format as what is computed in them needs. A function's code is a flat list of
 * bytes in the order of a stack machine, put together from the pieces below; the engine that compiles it checks the types.
 */

/** What is used of the engine's own interface: the types of Node do not have it. */
interface WasmEngine {
  readonly Memory: new (size: {
    readonly initial: number;
    readonly maximum: number;
    readonly shared: true;
  }) => WasmMemory;
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => CompiledModule;
  readonly Instance: new (
    module: CompiledModule,
    imports: { readonly env: { readonly memory: WasmMemory } },
  ) => { readonly exports: unknown };
  validate(bytes: Uint8Array<ArrayBuffer>): boolean;
}

/** A memory that several threads may use at once; it can be posted to them. */
export interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
}

export interface CompiledModule {
  readonly compiled?: never;
}

export const { WebAssembly: wasmEngine } = globalThis as unknown as { readonly WebAssembly: WasmEngine };

export type Code = readonly number[];

/** Types of values. */
export const I32 = 0x7f;
export const F64 = 0x7c;
export const V128 = 0x7b;

/** A number without sign in groups of seven bits, lowest first (LEB128). */
export function unsigned(value: number): Code {
  const bytes: number[] = [];
  let rest = value;
  do {
    const last = rest < 128;
    bytes.push((rest % 128) | (last ? 0 : 128));
    rest = Math.floor(rest / 128);
  } while (rest > 0);
  return bytes;
}

/** The same of a number with sign, of 32 bits. */
function signed(value: number): Code {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    const last = rest >> 6 === 0 || rest >> 6 === -1;
    bytes.push((rest & 127) | (last ? 0 : 128));
    if (last) return bytes;
  }
}

const bytesOf = (array: ArrayBufferView): Code => [...new Uint8Array(array.buffer, array.byteOffset, array.byteLength)];

export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number): Code => [0x21, ...unsigned(local)];
export const i32Const = (value: number): Code => [0x41, ...signed(value | 0)];
export const f64Const = (value: number): Code => [0x44, ...bytesOf(Float64Array.of(value))];

/** Instructions of the scalar set, by their names in the specification. */
export const I32_GT_S: Code = [0x4a];
export const I32_LT_U: Code = [0x49];
export const I32_ADD: Code = [0x6a];
export const I32_SUB: Code = [0x6b];
export const I32_AND: Code = [0x71];
export const I32_OR: Code = [0x72];
export const I32_XOR: Code = [0x73];
export const I32_ROTL: Code = [0x77];
export const I32_ROTR: Code = [0x78];
export const I32_SHL: Code = [0x74];
export const I32_SHR_U: Code = [0x76];
export const I32_TRUNC_F64_S: Code = [0xaa];
export const I32_REINTERPRET_F32: Code = [0xbc];
export const F32_REINTERPRET_I32: Code = [0xbe];
export const F32_DEMOTE_F64: Code = [0xb6];
export const F64_PROMOTE_F32: Code = [0xbb];
export const F64_CONVERT_I32_U: Code = [0xb8];
export const F64_LT: Code = [0x63];
export const F64_CEIL: Code = [0x9b];
export const F64_ADD: Code = [0xa0];
export const F64_MUL: Code = [0xa2];
export const F64_DIV: Code = [0xa3];
export const F64_MAX: Code = [0xa5];
export const RETURN: Code = [0x0f];

const simd = (opcode: number): Code => [0xfd, ...unsigned(opcode)];

/** Instructions on vectors of 16 bytes. */
export const I8X16_SPLAT = simd(0x0f);
export const I32X4_SPLAT = simd(0x11);
export const F64X2_SPLAT = simd(0x14);
export const V128_AND = simd(0x4e);
export const V128_OR = simd(0x50);
export const I32X4_GT_S = simd(0x3b);
export const I32X4_SHL = simd(0xab);
export const I32X4_MAX_S = simd(0xb6 + 2);
export const F32X4_MUL = simd(0xe6);
export const F64X2_FLOOR = simd(0x75);
export const F64X2_ABS = simd(0xec);
export const F64X2_ADD = simd(0xf0);
export const F64X2_SUB = simd(0xf1);
export const F64X2_MUL = simd(0xf2);
/** `a < b ? b : a`. */
export const F64X2_PMAX = simd(0xf7);
export const F64X2_PROMOTE_LOW_F32X4 = simd(0x5f);
export const I16X8_NARROW_I32X4_S = simd(0x85);
export const I8X16_NARROW_I16X8_U = simd(0x66);

export const i32Lane = (lane: number): Code => [...simd(0x1b), lane];
export const f64Lane = (lane: number): Code => [...simd(0x21), lane];

/** Takes lanes of 4 bytes from two vectors: 0 to 3 are the first one's, 4 to 7 the second one's. */
export const shuffle32 = (...lanes: readonly [number, number, number, number]): Code => [
  ...simd(0x0d),
  ...lanes.flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3]),
];

/** Memory: the address is on the stack, `offset` is added to it; no alignment is promised. */
const memory = (opcode: Code, offset: number): Code => [...opcode, 0, ...unsigned(offset)];
export const i32Load = (offset: number): Code => memory([0x28], offset);
export const i32Store = (offset: number): Code => memory([0x36], offset);
export const f64Load = (offset: number): Code => memory([0x2b], offset);
export const f64Store = (offset: number): Code => memory([0x39], offset);
export const i32Store16 = (offset: number): Code => memory([0x3b], offset);
export const v128Load = (offset: number): Code => memory(simd(0x00), offset);
export const v128Store = (offset: number): Code => memory(simd(0x0b), offset);
/** Four numbers of 16 bits without sign, each in a lane of 32. */
export const v128Load16x4U = (offset: number): Code => memory(simd(0x04), offset);

const END = 0x0b;
const EMPTY = 0x40;

/** Runs `body` while `condition` (an i32 on the stack) is not 0, and looks at it after each turn: at least once. */
export const doWhile = (body: Code, condition: Code): Code => [0x03, EMPTY, ...body, ...condition, 0x0d, 0, END];

/** `condition` is an i32 on the stack. `type`: what both branches leave there, if anything. */
export const ifElse = (condition: Code, then: Code, otherwise: Code, type = EMPTY): Code => [
  ...condition,
  0x04,
  type,
  ...then,
  ...(otherwise.length > 0 ? [0x05, ...otherwise] : []),
  END,
];

export interface WasmFunction {
  readonly name: string;
  /** Its parameters are the first locals. */
  readonly parameters: readonly number[];
  readonly result: number | undefined;
  readonly locals: readonly number[];
  readonly code: Code;
}

/** The most pages of 64 kB that a memory may have: all that 32 bits reach. */
export const MAX_PAGES = 65536;

/** A module that works on a shared memory it is given (import `env.memory`) and exports functions. */
export function wasmModule(functions: readonly WasmFunction[]): Uint8Array<ArrayBuffer> {
  const text = (name: string): Code => vector([...Buffer.from(name)].map((byte) => [byte]));
  const types = functions.map(({ parameters, result }) => [
    0x60,
    ...vector(parameters.map((type) => [type])),
    ...vector(result === undefined ? [] : [[result]]),
  ]);
  // 3: shared, with a largest size.
  const imported = [...text('env'), ...text('memory'), 0x02, 0x03, ...unsigned(1), ...unsigned(MAX_PAGES)];
  const bodies = functions.map(({ locals, code }) => {
    const body = [...vector(locals.map((type) => [1, type])), ...code, END];
    return [...unsigned(body.length), ...body];
  });
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, vector(types)),
    ...section(2, vector([imported])),
    ...section(3, vector(functions.map((_, i) => unsigned(i)))),
    ...section(7, vector(functions.map(({ name }, i) => [...text(name), 0x00, ...unsigned(i)]))),
    ...section(10, vector(bodies)),
  ]);
}

function vector(items: readonly Code[]): Code {
  return [...unsigned(items.length), ...items.flat()];
}

function section(id: number, content: Code): Code {
  return [id, ...unsigned(content.length), ...content];
}
