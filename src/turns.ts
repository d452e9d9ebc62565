/** Work in portions, so that others in the same process have their turn in between. No `vscode`. */

/** So many characters are read, compared or parsed in some milliseconds, also by code that runs for the first time. */
const CHARACTERS_A_TURN = 50_000;

export class Turns {
  private readonly portion: number;
  private readonly others: () => Promise<void>;
  private done = 0;

  /**
   * @param portion characters of one turn
   * @param others lets others run, and resolves when they did; what it throws ends the work
   */
  constructor(portion = CHARACTERS_A_TURN, others: () => Promise<void> = immediate) {
    this.portion = portion;
    this.others = others;
  }

  /** Counts work that was done. True: the turn is over, `await next()` is due. Apart from `next`, so that most calls await nothing. */
  over(characters: number): boolean {
    this.done += characters;
    return this.done >= this.portion;
  }

  async next(): Promise<void> {
    this.done = 0;
    await this.others();
  }
}

/** After what waits already: timers, messages, the editor's own calls. */
export function immediate(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
