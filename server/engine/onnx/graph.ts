/**
 * Writes one ONNX graph, node by node. Values are known by name; a node's method returns the names of what it makes.
 * Weights are external data: they stay in the weight file and ONNX Runtime maps them from there.
 */
import type { AttributeProto, DataTypeName, NodeProto, TensorProto, ValueInfoProto } from './onnx.proto';
import { DataType, encodeModel } from './onnx.proto';

/** An attribute: integers as `number` that are whole, floats as `{ float }`, because 1.0 and 1 differ in ONNX. */
export type Attribute = number | string | { readonly float: number } | readonly number[];

export interface ExternalRange {
  /** Absolute offset in the file, in bytes. */
  readonly offset: number;
  readonly bytes: number;
}

const OPSET = 21;
const MICROSOFT = 'com.microsoft';
/** Of `AttributeProto.AttributeType`. */
const FLOAT = 1;
const INT = 2;
const STRING = 3;
const INTS = 7;

export class Graph {
  readonly #name: string;
  /** File name of the weights, beside which the session is told to look. */
  readonly #location: string;
  readonly #nodes: NodeProto[] = [];
  readonly #initializers = new Map<string, TensorProto>();
  readonly #inputs: ValueInfoProto[] = [];
  readonly #outputs: ValueInfoProto[] = [];
  #externalBytes = 0;

  constructor(name: string, location: string) {
    this.#name = name;
    this.#location = location;
  }

  /** Bytes of weights that one run reads in whole, each once: everything external but look-up tables. */
  get externalBytes(): number {
    return this.#externalBytes;
  }

  /** A graph input; a string in `shape` names a dimension that varies. */
  input(name: string, type: DataTypeName, shape: readonly (number | string)[]): string {
    this.#inputs.push(valueInfo(name, type, shape));
    return name;
  }

  output(name: string, type: DataTypeName, shape: readonly (number | string)[]): void {
    this.#outputs.push(valueInfo(name, type, shape));
  }

  /** A weight that stays in the file. The same name twice is the same weight. */
  external(name: string, type: DataTypeName, dims: readonly number[], range: ExternalRange): string {
    if (!this.#initializers.has(name)) {
      this.#externalBytes += range.bytes;
      this.#initializers.set(name, {
        name,
        dims,
        dataType: DataType[type],
        dataLocation: 1,
        externalData: [
          { key: 'location', value: this.#location },
          { key: 'offset', value: String(range.offset) },
          { key: 'length', value: String(range.bytes) },
        ],
      });
    }
    return name;
  }

  /** A weight of which a run reads a few rows only. */
  lookup(name: string, type: DataTypeName, dims: readonly number[], range: ExternalRange): string {
    const known = this.#initializers.has(name);
    this.external(name, type, dims, range);
    if (!known) this.#externalBytes -= range.bytes;
    return name;
  }

  /** A small constant inside the graph. */
  constant(name: string, data: Float32Array | BigInt64Array, dims: readonly number[] = [data.length]): string {
    if (!this.#initializers.has(name)) {
      this.#initializers.set(name, {
        name,
        dims,
        dataType: data instanceof Float32Array ? DataType.float : DataType.int64,
        rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
      });
    }
    return name;
  }

  int64(...values: readonly number[]): string {
    return this.constant(`int64:${values.join(',')}`, BigInt64Array.from(values, BigInt));
  }

  /** A node of the ONNX standard with one output, which is called `name`. Empty input names are absent inputs. */
  op(opType: string, name: string, inputs: readonly string[], attributes: Record<string, Attribute> = {}): string {
    this.#add('', opType, name, inputs, [name], attributes);
    return name;
  }

  /** A node of ONNX Runtime's own operators, with the outputs given (an empty name: not wanted). */
  contrib(
    opType: string,
    name: string,
    inputs: readonly string[],
    attributes: Record<string, Attribute>,
    outputs: readonly string[] = [name],
  ): void {
    this.#add(MICROSOFT, opType, name, inputs, outputs, attributes);
  }

  /** Cuts the last axis into parts of the given sizes. */
  split(name: string, value: string, sizes: readonly number[]): string[] {
    const outputs = sizes.map((_, i) => `${name}.${i}`);
    this.splitInto(outputs, value, -1, sizes);
    return outputs;
  }

  /** Cuts `axis` into parts of the given sizes and names. */
  splitInto(outputs: readonly string[], value: string, axis: number, sizes: readonly number[]): void {
    this.#add('', 'Split', `${outputs[0]}.split`, [value, this.int64(...sizes)], outputs, { axis });
  }

  /** Cuts the first axis into two equal parts. */
  halve(outputs: readonly string[], value: string): void {
    this.#add('', 'Split', `${value}.halves`, [value], outputs, { axis: 0, num_outputs: 2 });
  }

  /** Makes a value an output under another name. */
  rename(value: string, name: string, type: DataTypeName, shape: readonly (number | string)[]): void {
    this.op('Identity', name, [value]);
    this.output(name, type, shape);
  }

  encode(): Uint8Array {
    return encodeModel({
      irVersion: 10,
      producerName: 'flan',
      opsetImport: [
        { domain: '', version: OPSET },
        { domain: MICROSOFT, version: 1 },
      ],
      graph: {
        name: this.#name,
        node: this.#nodes,
        initializer: [...this.#initializers.values()],
        input: this.#inputs,
        output: this.#outputs,
      },
    });
  }

  #add(
    domain: string,
    opType: string,
    name: string,
    input: readonly string[],
    output: readonly string[],
    attributes: Record<string, Attribute>,
  ): void {
    const attribute = Object.entries(attributes).map(([key, value]) => attributeProto(key, value));
    this.#nodes.push({ name, opType, domain, input, output, attribute });
  }
}

function attributeProto(name: string, value: Attribute): AttributeProto {
  if (typeof value === 'number') return { name, type: INT, i: value };
  if (typeof value === 'string') return { name, type: STRING, s: new TextEncoder().encode(value) };
  if ('float' in value) return { name, type: FLOAT, f: value.float };
  return { name, type: INTS, ints: value };
}

function valueInfo(name: string, type: DataTypeName, shape: readonly (number | string)[]): ValueInfoProto {
  const dim = shape.map((d) => (typeof d === 'number' ? { dimValue: d } : { dimParam: d }));
  return { name, type: { tensorType: { elemType: DataType[type], shape: { dim } } } };
}
