/** Asks the server for the tokens of the prompt, some time after each change; only the latest question counts. */
import type { CountPromptParams, PromptCount, PromptSet } from '../../server/protocol';
import { Method } from '../../server/protocol';
import { explainError } from '../remedies';
import { type Asking, modelChoice } from './asking';

const PAUSE_MS = 120;

export interface Counted {
  readonly count?: PromptCount;
  /** Why nothing could be counted. */
  readonly message?: string;
}

export class Counter {
  private readonly asking: Asking;
  private readonly show: (counted: Counted) => void;
  private timer: NodeJS.Timeout | undefined;
  private busy = false;
  private wanted: { readonly set: PromptSet; readonly input: string } | undefined;

  constructor(asking: Asking, show: (counted: Counted) => void) {
    this.asking = asking;
    this.show = show;
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.wanted = undefined;
  }

  request(set: PromptSet | undefined, input: string): void {
    this.wanted = set === undefined ? undefined : { set, input };
    clearTimeout(this.timer);
    if (this.wanted !== undefined && !this.busy) this.timer = setTimeout(() => void this.count(), PAUSE_MS);
  }

  private async count(): Promise<void> {
    const { wanted } = this;
    if (wanted === undefined) return;
    this.busy = true;
    const params: CountPromptParams = { ...wanted, ...modelChoice(this.asking.settings()) };
    let counted: Counted;
    try {
      counted = { count: await this.asking.server.request<PromptCount>(Method.countPrompt, params) };
    } catch (error) {
      counted = { message: explainError(error) };
    }
    this.busy = false;
    if (this.wanted === wanted) {
      this.wanted = undefined;
      this.show(counted);
    } else if (this.wanted !== undefined) {
      this.request(this.wanted.set, this.wanted.input);
    }
  }
}
