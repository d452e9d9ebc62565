/** What can go wrong in any engine. */
import { FlanError } from '../errors';
import { type Saying, say } from '../saying';

/** No GPU, or no driver, that the asked engine can use. */
export class NoGpuAdapterError extends FlanError {
  /** `detail`: why, without the final stop. */
  constructor(detail: string | Saying) {
    super(
      'no-gpu-adapter',
      say('No GPU adapter for WebGPU: {0}. Choose the cpu engine, or install the driver of the GPU.', detail),
    );
  }
}

/** No engine can run here; the message holds the reasons. */
export class EngineUnavailableError extends FlanError {
  constructor(reasons: string | Saying) {
    super(
      'engine-unavailable',
      say('{0} Choose another engine, or see what this machine can run (flan doctor).', reasons),
    );
  }
}

/** The model, or the request, needs more memory than there is. */
export class OutOfMemoryError extends FlanError {
  constructor(what: string | Saying, needBytes: number, freeBytes: number) {
    const [need, free] = [gigabytes(needBytes), gigabytes(freeBytes)];
    super(
      'out-of-memory',
      say('{0} needs {1}, and {2} are free. Close other programs or choose a smaller model.', what, need, free),
    );
  }
}

/** The system gave less memory than seemed to be free when the model began to load. */
export class MemoryRefusedError extends FlanError {
  constructor(options?: ErrorOptions) {
    super(
      'out-of-memory',
      say('There was not enough memory to load the model. Close other programs or choose a smaller model.'),
      options,
    );
  }
}

/** A decoder was fed more tokens than it was made for: a fault of the caller. */
export class CapacityError extends FlanError {
  constructor(capacity: number, wanted: number) {
    super('capacity', `A decoder for ${capacity} tokens cannot hold ${wanted}. Ask for a larger one.`);
  }
}

/** A decoder, memory or engine was used after it was freed: a fault of the caller. */
export class DisposedError extends FlanError {
  constructor(what: string) {
    super('disposed', `This ${what} was freed already. Load the model again.`);
  }
}

/** The engine failed inside: the driver or ONNX Runtime gives the reason. */
export class EngineError extends FlanError {
  constructor(what: string, cause: unknown) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    super('engine', `${what}: ${reason.split('\n')[0]}. Try another engine.`, { cause });
  }
}

/** For messages. */
export function gigabytes(bytes: number): string {
  return `${(bytes / 1e9).toFixed(1)} GB`;
}
