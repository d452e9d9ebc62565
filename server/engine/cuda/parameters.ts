/** Parameters of kernels that are C structs. */
/** Writes C struct members in order, little-endian; no member here needs padding before it. */
export class ParameterWriter {
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: number) {
    this.#view = new DataView(new ArrayBuffer(bytes));
  }

  address(...values: readonly bigint[]): void {
    for (const value of values) {
      this.#view.setBigUint64(this.#at, value, true);
      this.#at += 8;
    }
  }

  int(...values: readonly number[]): void {
    for (const value of values) {
      this.#view.setInt32(this.#at, value, true);
      this.#at += 4;
    }
  }

  float(...values: readonly number[]): void {
    for (const value of values) {
      this.#view.setFloat32(this.#at, value, true);
      this.#at += 4;
    }
  }

  double(...values: readonly number[]): void {
    for (const value of values) {
      this.#view.setFloat64(this.#at, value, true);
      this.#at += 8;
    }
  }

  finish(): Uint8Array {
    if (this.#at !== this.#view.byteLength)
      throw new RangeError(`${this.#at} bytes of kernel parameters were written.`);
    return new Uint8Array(this.#view.buffer);
  }
}
