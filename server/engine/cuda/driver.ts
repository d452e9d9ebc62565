/**
 * The NVIDIA driver, called directly through koffi: no CUDA toolkit on the user's machine, no addon to compile. The only
 * file that knows pointers, handles and symbols.
 *
 * One `CudaDriver` is one context and one stream, and belongs to the thread that opened it: plain synchronous calls, no
 * `.async`. Work is queued in order on the stream; `upload` and `download` are ordered with it and return when the host
 * memory may be reused.
 */
import type koffi from 'koffi';
import { inEnglish, type Saying, say } from '../../saying';
import { OutOfMemoryError } from '../errors';
import { CudaError, CudaUnavailableError, Status } from './errors';
import type { DevicePtr } from './seams';

/** Kernels are built for compute capability 8.0 and later (Ampere, 2020). */
const OLDEST_CAPABILITY = 80;
/** The kernels are compiled by CUDA 13; drivers before it cannot read its PTX, but read its binaries from 12.x on. */
const OLDEST_DRIVER = 12_000;

export interface CudaDevice {
  readonly name: string;
  /** 90 for 9.0. */
  readonly capability: number;
  readonly multiprocessors: number;
  /** Most shared memory a block may ask for. */
  readonly sharedBytes: number;
  readonly totalBytes: number;
  /** CUDA version of the driver: 13000 for 13.0. */
  readonly driverVersion: number;
}

export type CudaProbe =
  | { readonly ok: true; readonly device: CudaDevice; readonly freeBytes: number; readonly totalBytes: number }
  /** The reason has no final stop. */
  | { readonly ok: false; readonly reason: string; readonly said?: Saying };

/** Says whether this machine can run the CUDA engine, and why not. Never throws. */
export function probeCuda(): CudaProbe {
  let driver: CudaDriver | undefined;
  try {
    driver = CudaDriver.open();
    const { free, total } = driver.memory();
    return { ok: true, device: driver.device, freeBytes: free, totalBytes: total };
  } catch (error) {
    if (error instanceof CudaUnavailableError)
      return { ok: false, reason: inEnglish(error.reason), said: error.reason };
    return { ok: false, reason: (error instanceof Error ? error.message : String(error)).replace(/\.$/, '') };
  } finally {
    driver?.close();
  }
}

/** A kernel of a loaded module. */
export interface Kernel {
  readonly name: string;
  readonly handle: bigint;
}

export interface Launch {
  readonly grid: readonly [number, number?, number?];
  readonly block: number;
  /** Bytes of dynamic shared memory. */
  readonly shared?: number;
  /** All blocks must be on the card at once (grid-wide barriers). */
  readonly cooperative?: boolean;
}

/** The value of one kernel parameter. Numbers must be wrapped: `i32(3)`, `f32(0.5)`, `pointer(address)`. */
export type KernelArgument = Uint8Array;

export function i32(value: number): KernelArgument {
  return new Uint8Array(Int32Array.of(value).buffer);
}

export function f32(value: number): KernelArgument {
  return new Uint8Array(Float32Array.of(value).buffer);
}

export function u64(value: bigint | number): KernelArgument {
  return new Uint8Array(BigUint64Array.of(BigInt(value)).buffer);
}

export const pointer: (address: DevicePtr) => KernelArgument = u64;

export class CudaDriver {
  readonly device: CudaDevice;
  readonly #api: Api;
  readonly #context: bigint;
  readonly #stream: bigint;
  readonly #modules: bigint[] = [];
  readonly #allocated = new Map<DevicePtr, number>();
  #closed = false;

  private constructor(api: Api, device: CudaDevice, context: bigint) {
    this.#api = api;
    this.device = device;
    this.#context = context;
    this.#stream = this.#out('Making a stream', (out) => api.cuStreamCreate(out, STREAM_NON_BLOCKING));
  }

  /** Loads the driver and makes a context on card `ordinal`. Throws `CudaUnavailableError` with a sentence for the user. */
  static open(ordinal = 0): CudaDriver {
    const api = loadApi();
    const failed = (status: number) => nameStatus(api, status);
    let status = api.cuInit(0);
    if (status === Status.noDevice) throw new CudaUnavailableError(say('No NVIDIA GPU was found'));
    if (status !== 0) {
      const { name, description } = failed(status);
      throw new CudaUnavailableError(
        say(
          'The NVIDIA driver does not start: {0} ({1}). Restart the computer, or install the driver again',
          name,
          description,
        ),
      );
    }
    const word = Buffer.alloc(8);
    check(api, 'Asking for the driver version', api.cuDriverGetVersion(word));
    const driverVersion = word.readInt32LE();
    if (driverVersion < OLDEST_DRIVER) {
      throw new CudaUnavailableError(
        say(
          'The NVIDIA driver is too old: it speaks CUDA {0}, and {1} is needed. Update the driver',
          version(driverVersion),
          version(OLDEST_DRIVER),
        ),
      );
    }
    check(api, 'Counting cards', api.cuDeviceGetCount(word));
    if (ordinal >= word.readInt32LE())
      throw new CudaUnavailableError(say('There is no NVIDIA GPU number {0}', ordinal));
    check(api, 'Finding the card', api.cuDeviceGet(word, ordinal));
    const handle = word.readInt32LE();
    const attribute = (which: number): number => {
      check(api, 'Asking about the card', api.cuDeviceGetAttribute(word, which, handle));
      return word.readInt32LE();
    };
    const label = Buffer.alloc(256);
    check(api, "Asking for the card's name", api.cuDeviceGetName(label, label.length, handle));
    const name = label.toString('latin1', 0, label.indexOf(0));
    const capability = attribute(Attribute.capabilityMajor) * 10 + attribute(Attribute.capabilityMinor);
    if (capability < OLDEST_CAPABILITY) {
      throw new CudaUnavailableError(
        say(
          '{0} is too old for the CUDA engine: it has compute capability {1}, and 8.0 is needed. Use webgpu',
          name,
          capability / 10,
        ),
      );
    }
    check(api, "Asking for the card's memory", api.cuDeviceTotalMem(word, handle));
    const totalBytes = Number(word.readBigUInt64LE());
    const device: CudaDevice = {
      name,
      capability,
      multiprocessors: attribute(Attribute.multiprocessors),
      sharedBytes: attribute(Attribute.sharedPerBlock),
      totalBytes,
      driverVersion,
    };
    status = api.cuCtxCreate(word, 0, handle);
    if (status === Status.outOfMemory) {
      throw new CudaUnavailableError(say('{0} has no free memory. Close other programs that use the GPU', name));
    }
    check(api, `Opening ${name}`, status);
    return new CudaDriver(api, device, word.readBigUInt64LE());
  }

  memory(): { readonly free: number; readonly total: number } {
    const free = Buffer.alloc(8);
    const total = Buffer.alloc(8);
    this.#check('Asking for free memory', this.#api.cuMemGetInfo(free, total));
    return { free: Number(free.readBigUInt64LE()), total: Number(total.readBigUInt64LE()) };
  }

  /** Device memory, 256-byte aligned, with whatever was in it. `what` names it in the message when there is too little. */
  alloc(bytes: number, what: string): DevicePtr {
    const out = Buffer.alloc(8);
    const status = this.#api.cuMemAlloc(out, Math.max(bytes, 1));
    if (status === Status.outOfMemory) throw new OutOfMemoryError(what, bytes, this.memory().free);
    this.#check('Allocating memory', status);
    const address = out.readBigUInt64LE();
    this.#allocated.set(address, bytes);
    return address;
  }

  /** Frees what `alloc` gave, after all work queued so far. Does nothing for 0n or a context that is lost. */
  free(address: DevicePtr): void {
    if (address === 0n || !this.#allocated.delete(address)) return;
    this.#api.cuMemFree(address);
  }

  /** Bytes allocated and not freed. */
  get allocatedBytes(): number {
    let total = 0;
    for (const bytes of this.#allocated.values()) total += bytes;
    return total;
  }

  upload(to: DevicePtr, from: NodeJS.TypedArray): void {
    if (from.byteLength === 0) return;
    this.#check('Copying to the card', this.#api.cuMemcpyHtoDAsync(to, from, from.byteLength, this.#stream));
  }

  /** Waits for all queued work. */
  download(into: NodeJS.TypedArray, from: DevicePtr): void {
    this.#check('Copying from the card', this.#api.cuMemcpyDtoHAsync(into, from, into.byteLength, this.#stream));
    this.synchronize();
  }

  copy(to: DevicePtr, from: DevicePtr, bytes: number): void {
    this.#check('Copying on the card', this.#api.cuMemcpyDtoDAsync(to, from, bytes, this.#stream));
  }

  fill(address: DevicePtr, value: number, bytes: number): void {
    if (bytes > 0) this.#check('Clearing memory', this.#api.cuMemsetD8Async(address, value, bytes, this.#stream));
  }

  /** Loads a cubin, PTX or fat binary. */
  load(image: Uint8Array): (name: string) => Kernel {
    const module = this.#out('Loading the kernels', (out) => this.#api.cuModuleLoadData(out, image));
    this.#modules.push(module);
    return (name) => ({
      name,
      handle: this.#out(`Finding kernel ${name}`, (out) => this.#api.cuModuleGetFunction(out, module, name)),
    });
  }

  /** Lets a kernel ask for more than 48 KB of dynamic shared memory. */
  allowShared(kernel: Kernel, bytes: number): void {
    const status = this.#api.cuFuncSetAttribute(kernel.handle, FUNCTION_MAX_DYNAMIC_SHARED, bytes);
    this.#check(`Giving ${kernel.name} ${bytes} bytes of shared memory`, status);
  }

  launch(kernel: Kernel, how: Launch, args: readonly KernelArgument[]): void {
    const [x, y = 1, z = 1] = how.grid;
    const call = how.cooperative ? this.#api.cuLaunchCooperativeKernel : this.#api.cuLaunchKernel;
    const rest = how.cooperative ? [args] : [args, null];
    const status = call(kernel.handle, x, y, z, how.block, 1, 1, how.shared ?? 0, this.#stream, ...rest);
    if (status !== 0) this.#check(`Starting ${kernel.name}`, status);
  }

  /** Waits for all queued work; throws what went wrong in it. */
  synchronize(): void {
    const status = this.#api.cuStreamSynchronize(this.#stream);
    if (status !== 0) this.#check('Computing on the card', status);
  }

  /** A point in the stream, for `elapsed`. */
  mark(): bigint {
    const event = this.#out('Making an event', (out) => this.#api.cuEventCreate(out, 0));
    this.#check('Recording an event', this.#api.cuEventRecord(event, this.#stream));
    return event;
  }

  /** Waits until the stream has passed `event`, made by `mark`. */
  waitFor(event: bigint): void {
    this.#check('Computing on the card', this.#api.cuEventSynchronize(event));
  }

  /** Milliseconds between two marks, which it waits for; frees both. */
  elapsed(from: bigint, to: bigint): number {
    this.waitFor(to);
    const out = Buffer.alloc(4);
    this.#check('Reading the clock', this.#api.cuEventElapsedTime(out, from, to));
    this.forget(from);
    this.forget(to);
    return out.readFloatLE();
  }

  forget(event: bigint): void {
    this.#api.cuEventDestroy(event);
  }

  /** Page-locked host memory that the copy engine reads directly. An address, never a JavaScript buffer. */
  allocPinned(bytes: number): bigint {
    return this.#out('Allocating page-locked memory', (out) => this.#api.cuMemHostAlloc(out, bytes, 0));
  }

  freePinned(address: bigint): void {
    this.#api.cuMemFreeHost(address);
  }

  /** Queues a copy of `bytes` from page-locked memory. It may be overwritten only after a later mark has passed. */
  uploadPinned(to: DevicePtr, from: bigint, bytes: number): void {
    this.#check('Copying to the card', this.#api.cuMemcpyHtoDAsyncFrom(to, from, bytes, this.#stream));
  }

  /** Frees the context with everything in it. Safe after an error that lost it, and to call twice. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#allocated.clear();
    for (const module of this.#modules) this.#api.cuModuleUnload(module);
    this.#api.cuStreamDestroy(this.#stream);
    this.#api.cuCtxDestroy(this.#context);
  }

  #check(what: string, status: number): void {
    check(this.#api, what, status);
  }

  #out(what: string, call: (out: Buffer) => number): bigint {
    const out = Buffer.alloc(8);
    this.#check(what, call(out));
    return out.readBigUInt64LE();
  }
}

const STREAM_NON_BLOCKING = 1;
const FUNCTION_MAX_DYNAMIC_SHARED = 8;
const Attribute = { multiprocessors: 16, capabilityMajor: 75, capabilityMinor: 76, sharedPerBlock: 97 } as const;

/** Turns every status but success into a named error. */
function check(api: Api, what: string, status: number): void {
  if (status === Status.success) return;
  const { name, description } = nameStatus(api, status);
  throw new CudaError(what, status, name, description);
}

function nameStatus(api: Api, status: number): { name: string; description: string } {
  const text = (call: (status: number, out: Buffer) => number): string | undefined => {
    const out = Buffer.alloc(8);
    return call(status, out) === 0 ? ffi().decode.string(out.readBigUInt64LE()) : undefined;
  };
  return {
    name: text(api.cuGetErrorName) ?? `status ${status}`,
    description: text(api.cuGetErrorString) ?? 'the driver has no words for it',
  };
}

function version(number: number): string {
  return `${Math.floor(number / 1000)}.${Math.floor((number % 1000) / 10)}`;
}

// The driver's functions. Handles and device addresses are passed as 64-bit numbers; `void *` takes a Buffer or a typed
// array, whose memory the call reads or writes before it returns. `_v2` symbols are the 64-bit forms.
const PROTOTYPES = {
  cuInit: ['cuInit', ['uint32']],
  cuDriverGetVersion: ['cuDriverGetVersion', ['void *']],
  cuGetErrorName: ['cuGetErrorName', ['int', 'void *']],
  cuGetErrorString: ['cuGetErrorString', ['int', 'void *']],
  cuDeviceGetCount: ['cuDeviceGetCount', ['void *']],
  cuDeviceGet: ['cuDeviceGet', ['void *', 'int']],
  cuDeviceGetName: ['cuDeviceGetName', ['void *', 'int', 'int']],
  cuDeviceGetAttribute: ['cuDeviceGetAttribute', ['void *', 'int', 'int']],
  cuDeviceTotalMem: ['cuDeviceTotalMem_v2', ['void *', 'int']],
  cuCtxCreate: ['cuCtxCreate_v2', ['void *', 'uint32', 'int']],
  cuCtxDestroy: ['cuCtxDestroy_v2', ['uint64']],
  cuMemGetInfo: ['cuMemGetInfo_v2', ['void *', 'void *']],
  cuMemAlloc: ['cuMemAlloc_v2', ['void *', 'size_t']],
  cuMemFree: ['cuMemFree_v2', ['uint64']],
  cuMemHostAlloc: ['cuMemHostAlloc', ['void *', 'size_t', 'uint32']],
  cuMemFreeHost: ['cuMemFreeHost', ['uint64']],
  cuMemcpyHtoDAsync: ['cuMemcpyHtoDAsync_v2', ['uint64', 'void *', 'size_t', 'uint64']],
  cuMemcpyHtoDAsyncFrom: ['cuMemcpyHtoDAsync_v2', ['uint64', 'uint64', 'size_t', 'uint64']],
  cuMemcpyDtoHAsync: ['cuMemcpyDtoHAsync_v2', ['void *', 'uint64', 'size_t', 'uint64']],
  cuMemcpyDtoDAsync: ['cuMemcpyDtoDAsync_v2', ['uint64', 'uint64', 'size_t', 'uint64']],
  cuMemsetD8Async: ['cuMemsetD8Async', ['uint64', 'uint8', 'size_t', 'uint64']],
  cuModuleLoadData: ['cuModuleLoadData', ['void *', 'void *']],
  cuModuleUnload: ['cuModuleUnload', ['uint64']],
  cuModuleGetFunction: ['cuModuleGetFunction', ['void *', 'uint64', 'str']],
  cuFuncSetAttribute: ['cuFuncSetAttribute', ['uint64', 'int', 'int']],
  cuStreamCreate: ['cuStreamCreate', ['void *', 'uint32']],
  cuStreamDestroy: ['cuStreamDestroy_v2', ['uint64']],
  cuStreamSynchronize: ['cuStreamSynchronize', ['uint64']],
  cuEventCreate: ['cuEventCreate', ['void *', 'uint32']],
  cuEventDestroy: ['cuEventDestroy_v2', ['uint64']],
  cuEventRecord: ['cuEventRecord', ['uint64', 'uint64']],
  cuEventSynchronize: ['cuEventSynchronize', ['uint64']],
  cuEventElapsedTime: ['cuEventElapsedTime', ['void *', 'uint64', 'uint64']],
  cuLaunchKernel: [
    'cuLaunchKernel',
    ['uint64', 'uint32', 'uint32', 'uint32', 'uint32', 'uint32', 'uint32', 'uint32', 'uint64', 'void **', 'void *'],
  ],
  cuLaunchCooperativeKernel: [
    'cuLaunchCooperativeKernel',
    ['uint64', 'uint32', 'uint32', 'uint32', 'uint32', 'uint32', 'uint32', 'uint32', 'uint64', 'void **'],
  ],
} as const satisfies Record<string, readonly [string, readonly string[]]>;

type Api = Record<keyof typeof PROTOTYPES, (...args: unknown[]) => number>;

let loaded: Api | undefined;

/** Loaded at the first use: where this native package does not load, the other engines still run. */
function ffi(): typeof koffi {
  try {
    return require('koffi');
  } catch (error) {
    throw new CudaUnavailableError(
      say('The package that calls the NVIDIA driver does not load here: {0}', firstLine(error)),
    );
  }
}

/** One library for the process: contexts come and go on it. */
function loadApi(): Api {
  if (loaded) return loaded;
  const file = process.platform === 'win32' ? 'nvcuda.dll' : 'libcuda.so.1';
  const { load } = ffi();
  let library: ReturnType<typeof load>;
  try {
    library = load(file);
  } catch {
    throw new CudaUnavailableError(
      say('No NVIDIA driver is installed ({0} was not found). Install it, or choose another engine', file),
    );
  }
  try {
    const entries = Object.entries(PROTOTYPES).map(([name, [symbol, parameters]]) => [
      name,
      library.func(symbol, 'int', [...parameters]),
    ]);
    loaded = Object.fromEntries(entries) as Api;
    return loaded;
  } catch (error) {
    throw new CudaUnavailableError(say('The NVIDIA driver is too old: {0}. Update the driver', firstLine(error)));
  }
}

function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split('\n', 1)[0] ?? '';
}
