/**
 * SHA-256 (FIPS 180-4) whose state can be kept and taken up again. Node's own is faster, but its state cannot be saved: after
 * an interruption, all of a file would have to be fetched again to know its sum.
 */
import { type CompiledModule, wasmEngine } from '../wasm';
import { INPUT, INPUT_BYTES, type Sha256Exports, START, sha256Module } from './sha256_module';

const BLOCK_BYTES = 64;

let compiled: CompiledModule | undefined;

export class Sha256 {
  readonly #exports: Sha256Exports;
  readonly #state: Int32Array;
  readonly #input: Uint8Array;
  /** What is left of the bytes so far when whole blocks are taken away. */
  readonly #rest = new Uint8Array(BLOCK_BYTES);
  #bytes = 0;

  constructor() {
    compiled ??= new wasmEngine.Module(sha256Module());
    const memory = new wasmEngine.Memory({ initial: 1, maximum: 1, shared: true });
    this.#exports = new wasmEngine.Instance(compiled, { env: { memory } }).exports as Sha256Exports;
    this.#state = new Int32Array(memory.buffer, 0, 8);
    this.#input = new Uint8Array(memory.buffer, INPUT, INPUT_BYTES);
    this.#state.set(START);
  }

  /** Takes up what `save` gave. @throws RangeError for anything else. */
  static restore(saved: string): Sha256 {
    const [, bytes, words = '', rest = ''] = /^(\d{1,16}) ([0-9a-f]{64}) ((?:[0-9a-f]{2})*)$/.exec(saved) ?? [];
    const hash = new Sha256();
    hash.#bytes = Number(bytes);
    if (rest.length / 2 !== hash.#bytes % BLOCK_BYTES) throw new RangeError('this is no saved state');
    for (let i = 0; i < 8; i++) hash.#state[i] = Number.parseInt(words.slice(i * 8, i * 8 + 8), 16) | 0;
    hash.#rest.set(Buffer.from(rest, 'hex'));
    return hash;
  }

  /** Bytes hashed so far. */
  get bytes(): number {
    return this.#bytes;
  }

  /** The state as text: byte count, eight words, the bytes of the last block that is not full. */
  save(): string {
    const rest = Buffer.from(this.#rest.subarray(0, this.#bytes % BLOCK_BYTES)).toString('hex');
    return `${this.#bytes} ${this.#words()} ${rest}`;
  }

  update(bytes: Uint8Array): this {
    const held = this.#bytes % BLOCK_BYTES;
    const missing = held === 0 ? 0 : Math.min(BLOCK_BYTES - held, bytes.length);
    const whole = bytes.length - ((bytes.length - missing) % BLOCK_BYTES);
    this.#bytes += bytes.length;
    this.#rest.set(bytes.subarray(0, missing), held);
    if (held + missing === BLOCK_BYTES) this.#blocks(this.#rest);
    if (held + missing < BLOCK_BYTES && held > 0) return this;
    for (let at = missing; at < whole; at += INPUT_BYTES) {
      this.#blocks(bytes.subarray(at, Math.min(at + INPUT_BYTES, whole)));
    }
    this.#rest.set(bytes.subarray(whole));
    return this;
  }

  /** The sum, hexadecimal. Nothing can be added afterwards. */
  digest(): string {
    const held = this.#bytes % BLOCK_BYTES;
    const padding = Buffer.alloc((held < 56 ? BLOCK_BYTES : 2 * BLOCK_BYTES) - held);
    padding[0] = 0x80;
    padding.writeBigUInt64BE(BigInt(this.#bytes) * 8n, padding.length - 8);
    this.update(padding);
    return this.#words();
  }

  #blocks(bytes: Uint8Array): void {
    this.#input.set(bytes);
    this.#exports.blocks(INPUT, INPUT + bytes.length);
  }

  #words(): string {
    return [...this.#state].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }
}
