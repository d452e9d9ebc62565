/** The kernels of a decoder step with what stays the same for all decoders: weights, activations, results. */
import { type CardPick, PICK_SHARED, PICK_THREADS, PICKED_TOTAL_BYTES, pickParameters } from './decoder_pick';
import {
  type DecoderAddresses,
  type DecoderShapes,
  MAX_COLUMNS,
  RESULT_BYTES,
  STEP_THREADS,
  type StepAddresses,
  type StepColumns,
  stepParameters,
  stepShared,
} from './decoder_shapes';
import type { DecoderWeights } from './decoder_weights';
import type { CudaDriver, Kernel } from './driver';
import type { DevicePtr } from './seams';

/** Where the weights are. */
export type StepWeights = Pick<DecoderWeights, 'layers' | 'head' | 'embedding' | 'norms' | 'bias'>;

/** What a decoder asks of the driver. */
export type StepDriver = Pick<
  CudaDriver,
  'device' | 'alloc' | 'free' | 'fill' | 'upload' | 'download' | 'allowShared' | 'launch'
>;

export class StepRunner {
  readonly driver: StepDriver;
  readonly shapes: DecoderShapes;
  readonly addresses: StepAddresses;
  readonly #one: Kernel;
  readonly #eight: Kernel;
  readonly #pick: Kernel;
  readonly #owned: DevicePtr[] = [];
  #counterSet: 0 | 1 = 0;

  constructor(driver: StepDriver, shapes: DecoderShapes, weights: StepWeights, kernel: (name: string) => Kernel) {
    this.driver = driver;
    this.shapes = shapes;
    this.#one = kernel('decoder_step_1');
    this.#eight = kernel('decoder_step_8');
    this.#pick = kernel('decoder_pick');
    driver.allowShared(this.#one, stepShared(driver.device, true).bytes);
    driver.allowShared(this.#eight, stepShared(driver.device, false).bytes);
    const zeros = (bytes: number): DevicePtr => {
      const address = driver.alloc(bytes, 'the decoder');
      this.#owned.push(address);
      driver.fill(address, 0, bytes);
      return address;
    };
    const { dPad, innerPad, ffPad, gridPad, head, counterWords } = shapes;
    try {
      this.addresses = {
        layers: weights.layers,
        head: weights.head,
        embedding: weights.embedding.address,
        norms: weights.norms,
        bias: weights.bias,
        x: zeros(MAX_COLUMNS * dPad * 4),
        normed: zeros(MAX_COLUMNS * dPad * 2),
        normedPowers: zeros((MAX_COLUMNS * dPad) / 8),
        squares: zeros(MAX_COLUMNS * gridPad * 4),
        q: zeros(MAX_COLUMNS * innerPad * 4),
        crossQueries: zeros(MAX_COLUMNS * innerPad * 2),
        attended: zeros(MAX_COLUMNS * innerPad * 2),
        hidden: zeros(MAX_COLUMNS * ffPad * 2),
        exponents: zeros((MAX_COLUMNS * ffPad) / 8),
        logits: zeros(MAX_COLUMNS * head.tiles * 16 * 4),
        bests: zeros(MAX_COLUMNS * gridPad * 12),
        results: zeros(MAX_COLUMNS * RESULT_BYTES),
        picked: zeros(PICKED_TOTAL_BYTES),
        counters: zeros(2 * counterWords * 4),
      };
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Queues one step of up to 8 columns; results and logits are then on the card. */
  launch(decoder: DecoderAddresses, step: Omit<StepColumns, 'counterSet'>): void {
    const { device } = this.driver;
    const one = step.tokens.length === 1;
    const counterSet = this.#counterSet;
    this.#counterSet = counterSet === 0 ? 1 : 0;
    const parameters = stepParameters(this.shapes, device, this.addresses, decoder, { ...step, counterSet });
    this.driver.launch(
      one ? this.#one : this.#eight,
      {
        grid: [device.multiprocessors],
        block: STEP_THREADS,
        shared: stepShared(device, one).bytes,
        cooperative: true,
      },
      [parameters],
    );
  }

  /** Queues the choice of tokens from the logits of the last launch, for its `columns` positions, the first of them `first`. */
  pick(pick: CardPick, first: number, columns: number): void {
    const how = { grid: [columns], block: PICK_THREADS, shared: PICK_SHARED } as const;
    this.driver.launch(this.#pick, how, [pickParameters(this.shapes, this.addresses, pick, first)]);
  }

  dispose(): void {
    for (const address of this.#owned.splice(0)) this.driver.free(address);
  }
}
