/** What can go wrong between us and an NVIDIA driver, and what to do next. */
import { FlanError } from '../../errors';
import { type Saying, say } from '../../saying';

/**
 * A call of the driver failed. Its code is `cuda`, or `cuda-context-lost` when nothing on the card can be used any more: the
 * driver then refuses this process every new context as well (seen on an H100), so the process must end and another one
 * load the model.
 */
export class CudaError extends FlanError {
  readonly status: number;
  /** As the driver spells it, e.g. `CUDA_ERROR_ILLEGAL_ADDRESS`. */
  readonly statusName: string;

  constructor(what: string, status: number, statusName: string, description: string) {
    super(
      CONTEXT_LOST.has(status) ? 'cuda-context-lost' : 'cuda',
      `${what} failed: ${statusName} (${description}). ${nextStep(status)}`,
    );
    this.status = status;
    this.statusName = statusName;
  }

  /** Whether the context is lost with it. */
  get contextLost(): boolean {
    return CONTEXT_LOST.has(this.status);
  }
}

/** The machine cannot run the CUDA engine; `probeCuda` gives the same sentence without throwing. */
export class CudaUnavailableError extends FlanError {
  /** Without its final stop. */
  readonly reason: Saying;

  constructor(reason: Saying) {
    super('cuda-unavailable', say('{0}.', reason));
    this.reason = reason;
  }
}

/** The kernels are not made for a model of this shape. */
export class CudaShapeError extends FlanError {
  constructor(what: string) {
    super('cuda-shape', `The CUDA engine cannot run this model: ${what}. Choose another engine.`);
  }
}

/** The kernels that belong to this program are missing beside it. */
export class KernelsMissingError extends FlanError {
  constructor(file: string, cause: unknown) {
    super(
      'kernels-missing',
      `The CUDA kernels were not found (${file}). Install the program again, or choose another engine.`,
      {
        cause,
      },
    );
  }
}

export const Status = {
  success: 0,
  outOfMemory: 2,
  notInitialized: 3,
  noDevice: 100,
  invalidDevice: 101,
  noBinaryForGpu: 209,
  eccUncorrectable: 214,
  invalidPtx: 218,
  unsupportedPtxVersion: 222,
  jitCompilerNotFound: 221,
  deviceUnavailable: 46,
  illegalAddress: 700,
  launchOutOfResources: 701,
  launchTimeout: 702,
  launchFailed: 719,
  cooperativeTooLarge: 720,
  systemDriverMismatch: 803,
  compatNotSupported: 804,
} as const;

/** After these, every later call on the context fails in the same way. */
const CONTEXT_LOST: ReadonlySet<number> = new Set([
  Status.eccUncorrectable,
  Status.illegalAddress,
  Status.launchTimeout,
  Status.launchFailed,
  714, // hardware stack error
  715, // illegal instruction
  716, // misaligned address
  717, // invalid address space
  718, // invalid program counter
  710, // assertion in a kernel
]);

const UPDATE_DRIVER = 'Update the NVIDIA driver, or choose another engine.';

function nextStep(status: number): string {
  switch (status) {
    case Status.outOfMemory:
      return 'Close other programs that use the GPU, or choose a smaller model.';
    case Status.noBinaryForGpu:
      return 'This card is too old or too new for the built-in kernels: choose another engine.';
    case Status.invalidPtx:
    case Status.unsupportedPtxVersion:
    case Status.jitCompilerNotFound:
      return UPDATE_DRIVER;
    case Status.systemDriverMismatch:
    case Status.compatNotSupported:
      return 'The driver in memory is older than the one on disk: restart the computer.';
    case Status.deviceUnavailable:
      return 'Another program holds the card exclusively: close it, or choose another engine.';
    case Status.cooperativeTooLarge:
    case Status.launchOutOfResources:
      return 'Another program shares the card: close it, or choose another engine.';
    case Status.launchTimeout:
      return "The system's watchdog stopped the kernel: restart the server, or choose another engine.";
    default:
      return CONTEXT_LOST.has(status) ? 'Restart the server.' : 'Load the model again, or choose another engine.';
  }
}
