/** The kernels of a decoder step with what stays the same for all decoders: weights, activations, results. */
import { ExchangeTurn, exchangeShape } from './decoder_exchange';
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

const CLEAN_THREADS = 256;
/** What the kernel that cleans all exchange slots does not look at. */
const NO_DECODER: DecoderAddresses = {
  partial: 0n,
  keys: 0n,
  values: 0n,
  rowOf: 0n,
  cross: 0n,
  crossShape: { slots: 0, parts: 0, share: 0, layerBytes: 0 },
  sourceTokens: 0,
  rows: 0,
  capacity: 0,
};
const NO_COLUMNS: StepColumns = {
  tokens: new Int32Array(0),
  targets: undefined,
  first: 0,
  perRow: 1,
  length: 0,
  reordered: false,
  counterSet: 0,
  slot: 0,
  dirty: 0,
};

export class StepRunner {
  readonly driver: StepDriver;
  readonly shapes: DecoderShapes;
  readonly addresses: StepAddresses;
  readonly #one: Kernel;
  readonly #eight: Kernel;
  readonly #pick: Kernel;
  readonly #owned: DevicePtr[] = [];
  #counterSet: 0 | 1 = 0;
  readonly #turn = new ExchangeTurn();

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
    const { gridPad, head, counterWords } = shapes;
    try {
      this.addresses = {
        layers: weights.layers,
        head: weights.head,
        embedding: weights.embedding.address,
        norms: weights.norms,
        bias: weights.bias,
        exchange: zeros(exchangeShape(shapes, driver.device.multiprocessors).bytes),
        logits: zeros(MAX_COLUMNS * head.tiles * 16 * 4),
        bests: zeros(MAX_COLUMNS * gridPad * 12),
        results: zeros(MAX_COLUMNS * RESULT_BYTES),
        picked: zeros(PICKED_TOTAL_BYTES),
        counters: zeros(2 * counterWords * 4),
      };
      const clean = stepParameters(shapes, driver.device, this.addresses, NO_DECODER, NO_COLUMNS);
      driver.launch(kernel('decoder_clean'), { grid: [driver.device.multiprocessors], block: CLEAN_THREADS }, [clean]);
    } catch (error) {
      this.dispose();
      throw error;
    }
  }

  /** Queues one step of up to 8 columns; results and logits are then on the card. */
  launch(decoder: DecoderAddresses, step: Omit<StepColumns, 'counterSet' | 'slot' | 'dirty'>): void {
    const { device } = this.driver;
    const one = step.tokens.length === 1;
    const counterSet = this.#counterSet;
    this.#counterSet = counterSet === 0 ? 1 : 0;
    const turn = this.#turn.next(step.tokens.length, this.shapes.config.decoderLayers);
    const parameters = stepParameters(this.shapes, device, this.addresses, decoder, { ...step, counterSet, ...turn });
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
