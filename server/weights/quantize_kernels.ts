/**
 * The inner loops of quantizing as WebAssembly with vectors of 16 bytes: the same arithmetic as `quantizeRows`, number for
 * number and in the same order of additions, so that a file is the same whichever of them made it.
 *
 * A weight is worked on in float64, as JavaScript does, two lanes a vector: rounding is then that of `quantizeRows` in every
 * last bit. What a weight costs is 8 instructions, most of them for the error sums; reading and packing are few.
 */
import { MAX_HALF } from './halves';
import { BLOCK } from './layout';
import * as w from './wasm';

/** `address, blocks, weights, scales, sums`: see `quantize` below. Addresses are in bytes, within the memory. */
export interface Kernels {
  /**
   * Quantizes `blocks` blocks of float32 at `source` into bytes at `weights` and F16 scales at `scales`, and adds to the
   * three float64 sums at `sums` (squares, squared errors, largest error).
   *
   * @returns how many blocks were done: fewer than `blocks` when the next one has a weight that has no int8 form.
   */
  quantize(source: number, blocks: number, weights: number, scales: number, sums: number): number;
  /** Widens `count` BF16 at `source` to float32 at `target`. Works in fours: up to 3 more are read and written. */
  widenBfloat16(source: number, target: number, count: number): void;
  /** The same of F16. */
  widenHalf(source: number, target: number, count: number): void;
}

/** The kernels over a shared memory; undefined where the engine has no vectors. */
export function kernelsOver(memory: w.WasmMemory): Kernels | undefined {
  compiled ??= compile();
  if (compiled === 'none') return undefined;
  return new w.wasmEngine.Instance(compiled, { env: { memory } }).exports as Kernels;
}

let compiled: w.CompiledModule | 'none' | undefined;

function compile(): w.CompiledModule | 'none' {
  const bytes = w.wasmModule([quantize(), widenBfloat16(), widenHalf()]);
  return w.wasmEngine.validate(bytes) ? new w.wasmEngine.Module(bytes) : 'none';
}

const bitsOf = (value: number): number => new Int32Array(Float32Array.of(value).buffer)[0] ?? 0;

/** Added to a whole number below 2 ** 32, leaves it in the low 32 bits of a float64. */
const TO_INTEGER = 2 ** 52;

function quantize(): w.WasmFunction {
  const [source, blocks, weights, scales, sums, done, bits, end] = [0, 1, 2, 3, 4, 5, 6, 7] as const;
  const [x, scale64, squares, errors] = [8, 9, 10, 11] as const;
  const [most, scale, inverse, v, low, high, qLow, qHigh] = [12, 13, 14, 15, 16, 17, 18, 19] as const;
  const [squares0, squares1, errors0, errors1, worst] = [20, 21, 22, 23, 24] as const;
  const locals = [...Array<number>(3).fill(w.I32), ...Array<number>(4).fill(w.F64), ...Array<number>(13).fill(w.V128)];
  const splat64 = (value: number): w.Code => [...w.f64Const(value), ...w.F64X2_SPLAT];
  const advance = (local: number, by: number): w.Code => [
    ...w.get(local),
    ...w.i32Const(by),
    ...w.I32_ADD,
    ...w.set(local),
  ];
  const until = (local: number): w.Code => [...w.get(local), ...w.get(end), ...w.I32_LT_U];

  // The largest magnitude, by bits: of finite floats their order is that of the magnitudes, the rest are above.
  const largest: w.Code = [
    ...w.i32Const(0),
    ...w.I32X4_SPLAT,
    ...w.set(most),
    ...w.get(source),
    ...w.i32Const(4 * BLOCK),
    ...w.I32_ADD,
    ...w.set(end),
    ...w.doWhile(
      [
        ...[0, 16, 32, 48].flatMap((offset) => [
          ...w.get(source),
          ...w.v128Load(offset),
          ...w.i32Const(0x7fffffff),
          ...w.I32X4_SPLAT,
          ...w.V128_AND,
          ...w.get(most),
          ...w.I32X4_MAX_S,
          ...w.set(most),
        ]),
        ...advance(source, 64),
      ],
      until(source),
    ),
    ...advance(source, -4 * BLOCK),
    ...[w.shuffle32(2, 3, 2, 3), w.shuffle32(1, 1, 1, 1)].flatMap((lanes) => [
      ...w.get(most),
      ...w.get(most),
      ...w.get(most),
      ...lanes,
      ...w.I32X4_MAX_S,
      ...w.set(most),
    ]),
    ...w.get(most),
    ...w.i32Lane(0),
    ...w.set(bits),
  ];

  // halfBitsUp(largest / 127).
  const scaleBits: w.Code = [
    ...w.get(bits),
    ...w.F32_REINTERPRET_I32,
    ...w.F64_PROMOTE_F32,
    ...w.f64Const(127),
    ...w.F64_DIV,
    ...w.set(x),
    ...w.ifElse(
      [...w.get(x), ...w.f64Const(2 ** -14), ...w.F64_LT],
      [...w.get(x), ...w.f64Const(2 ** 24), ...w.F64_MUL, ...w.F64_CEIL, ...w.I32_TRUNC_F64_S],
      [
        ...w.get(x),
        ...w.F32_DEMOTE_F64,
        ...w.I32_REINTERPRET_F32,
        // One more where the float32 is below x.
        ...w.get(x),
        ...w.F32_DEMOTE_F64,
        ...w.F64_PROMOTE_F32,
        ...w.get(x),
        ...w.F64_LT,
        ...w.I32_ADD,
        ...w.i32Const(0x1fff),
        ...w.I32_ADD,
        ...w.i32Const(13),
        ...w.I32_SHR_U,
        ...w.i32Const((127 - 15) << 10),
        ...w.I32_SUB,
      ],
      w.I32,
    ),
    ...w.set(bits),
    ...w.get(scales),
    ...w.get(bits),
    ...w.i32Store16(0),
  ];

  // The value of that F16.
  const scaleValue: w.Code = [
    ...w.ifElse(
      [...w.get(bits), ...w.i32Const(1024), ...w.I32_LT_U],
      [...w.get(bits), ...w.F64_CONVERT_I32_U, ...w.f64Const(2 ** -24), ...w.F64_MUL],
      [
        ...w.get(bits),
        ...w.i32Const(13),
        ...w.I32_SHL,
        ...w.i32Const((127 - 15) << 23),
        ...w.I32_ADD,
        ...w.F32_REINTERPRET_I32,
        ...w.F64_PROMOTE_F32,
      ],
      w.F64,
    ),
    ...w.set(scale64),
    ...w.get(scale64),
    ...w.F64X2_SPLAT,
    ...w.set(scale),
    ...w.f64Const(1),
    ...w.get(scale64),
    ...w.F64_DIV,
    ...w.F64X2_SPLAT,
    ...w.set(inverse),
  ];

  const zeros: w.Code = Array.from({ length: BLOCK / 16 }, (_, i) => [
    ...w.get(weights),
    ...w.i32Const(128),
    ...w.I8X16_SPLAT,
    ...w.v128Store(16 * i),
  ]).flat();

  /** Two weights: q + 128 into `q`, and their share of the sums. */
  const two = (value: number, q: number, squareSum: number, errorSum: number): w.Code => [
    ...w.get(value),
    ...w.get(inverse),
    ...w.F64X2_MUL,
    ...splat64(128.5),
    ...w.F64X2_ADD,
    ...w.F64X2_FLOOR,
    ...w.set(q),
    ...w.get(squareSum),
    ...w.get(value),
    ...w.get(value),
    ...w.F64X2_MUL,
    ...w.F64X2_ADD,
    ...w.set(squareSum),
    // The error takes the weight's place.
    ...w.get(q),
    ...splat64(128),
    ...w.F64X2_SUB,
    ...w.get(scale),
    ...w.F64X2_MUL,
    ...w.get(value),
    ...w.F64X2_SUB,
    ...w.set(value),
    ...w.get(errorSum),
    ...w.get(value),
    ...w.get(value),
    ...w.F64X2_MUL,
    ...w.F64X2_ADD,
    ...w.set(errorSum),
    ...w.get(worst),
    ...w.get(value),
    ...w.F64X2_ABS,
    ...w.F64X2_PMAX,
    ...w.set(worst),
  ];
  /** Four weights; leaves them as int32 lanes on the stack. */
  const four = (offset: number): w.Code => [
    ...w.get(source),
    ...w.v128Load(offset),
    ...w.set(v),
    ...w.get(v),
    ...w.F64X2_PROMOTE_LOW_F32X4,
    ...w.set(low),
    ...w.get(v),
    ...w.get(v),
    ...w.shuffle32(2, 3, 2, 3),
    ...w.F64X2_PROMOTE_LOW_F32X4,
    ...w.set(high),
    ...two(low, qLow, squares0, errors0),
    ...two(high, qHigh, squares1, errors1),
    ...w.get(qLow),
    ...splat64(TO_INTEGER),
    ...w.F64X2_ADD,
    ...w.get(qHigh),
    ...splat64(TO_INTEGER),
    ...w.F64X2_ADD,
    ...w.shuffle32(0, 2, 4, 6),
  ];
  const sum = (a: number, b: number): w.Code => [
    ...w.get(a),
    ...w.get(b),
    ...w.F64X2_ADD,
    ...w.f64Lane(0),
    ...w.get(a),
    ...w.get(b),
    ...w.F64X2_ADD,
    ...w.f64Lane(1),
    ...w.F64_ADD,
  ];
  const weightsOfBlock: w.Code = [
    ...[squares0, squares1, errors0, errors1].flatMap((local) => [...splat64(0), ...w.set(local)]),
    ...w.doWhile(
      [
        ...w.get(weights),
        ...four(0),
        ...four(16),
        ...w.I16X8_NARROW_I32X4_S,
        ...four(32),
        ...four(48),
        ...w.I16X8_NARROW_I32X4_S,
        ...w.I8X16_NARROW_I16X8_U,
        ...w.v128Store(0),
        ...advance(weights, 16),
        ...advance(source, 64),
      ],
      until(source),
    ),
    ...advance(weights, -BLOCK),
    ...advance(source, -4 * BLOCK),
    ...w.get(squares),
    ...sum(squares0, squares1),
    ...w.F64_ADD,
    ...w.set(squares),
    ...w.get(errors),
    ...sum(errors0, errors1),
    ...w.F64_ADD,
    ...w.set(errors),
  ];

  const store: w.Code = [
    ...[w.get(squares), w.get(errors)].flatMap((value, i) => [...w.get(sums), ...value, ...w.f64Store(8 * i)]),
    ...w.get(sums),
    ...w.get(worst),
    ...w.f64Lane(0),
    ...w.get(worst),
    ...w.f64Lane(1),
    ...w.F64_MAX,
    ...w.f64Store(16),
  ];
  const code: w.Code = [
    ...[squares, errors].flatMap((local, i) => [...w.get(sums), ...w.f64Load(8 * i), ...w.set(local)]),
    ...w.get(sums),
    ...w.f64Load(16),
    ...w.F64X2_SPLAT,
    ...w.set(worst),
    ...w.doWhile(
      [
        ...largest,
        ...w.ifElse(
          [...w.get(bits), ...w.i32Const(bitsOf(127 * MAX_HALF)), ...w.I32_GT_S],
          [...store, ...w.get(done), ...w.RETURN],
          [],
        ),
        ...scaleBits,
        ...w.ifElse(w.get(bits), [...scaleValue, ...weightsOfBlock], zeros),
        ...advance(source, 4 * BLOCK),
        ...advance(weights, BLOCK),
        ...advance(scales, 2),
        ...advance(done, 1),
      ],
      [...w.get(done), ...w.get(blocks), ...w.I32_LT_U],
    ),
    ...store,
    ...w.get(done),
  ];
  return { name: 'quantize', parameters: Array<number>(5).fill(w.I32), result: w.I32, locals, code };
}

/** A loop over `count` numbers of 16 bits, four a turn; `widen` makes a vector of float32 of four lanes on the stack. */
function widening(name: string, widen: w.Code): w.WasmFunction {
  const [source, target, count, end] = [0, 1, 2, 3] as const;
  const code: w.Code = [
    ...[...w.get(source), ...w.get(count), ...w.i32Const(1), ...w.I32_SHL, ...w.I32_ADD, ...w.set(end)],
    ...w.doWhile(
      [
        ...w.get(target),
        ...w.get(source),
        ...w.v128Load16x4U(0),
        ...widen,
        ...w.v128Store(0),
        ...[...w.get(target), ...w.i32Const(16), ...w.I32_ADD, ...w.set(target)],
        ...[...w.get(source), ...w.i32Const(8), ...w.I32_ADD, ...w.set(source)],
      ],
      [...w.get(source), ...w.get(end), ...w.I32_LT_U],
    ),
  ];
  return { name, parameters: [w.I32, w.I32, w.I32], result: undefined, locals: [w.I32, w.V128, w.V128], code };
}

function widenBfloat16(): w.WasmFunction {
  return widening('widenBfloat16', [...w.i32Const(16), ...w.I32X4_SHL]);
}

function widenHalf(): w.WasmFunction {
  const [given, wide] = [4, 5] as const;
  const lanes = (value: number): w.Code => [...w.i32Const(value), ...w.I32X4_SPLAT];
  return widening('widenHalf', [
    ...w.set(given),
    // Exponent and fraction, then the difference of the exponents' biases as a factor: right for subnormal numbers, too.
    ...w.get(given),
    ...lanes(0x7fff),
    ...w.V128_AND,
    ...w.i32Const(13),
    ...w.I32X4_SHL,
    ...lanes(bitsOf(2 ** (127 - 15))),
    ...w.F32X4_MUL,
    ...w.set(wide),
    ...w.get(wide),
    // What F16 has no number for came out from 2 ** 16 on.
    ...w.get(wide),
    ...lanes(bitsOf(65536) - 1),
    ...w.I32X4_GT_S,
    ...lanes(0x7f800000),
    ...w.V128_AND,
    ...w.V128_OR,
    ...w.get(given),
    ...lanes(0x8000),
    ...w.V128_AND,
    ...w.i32Const(16),
    ...w.I32X4_SHL,
    ...w.V128_OR,
  ]);
}
