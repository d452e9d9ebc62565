/** Calls `action` at once, then at most once every `intervalMs`; the last request is never lost. */
export class Throttle {
  private readonly action: () => void;
  private readonly intervalMs: number;
  private timer: NodeJS.Timeout | undefined;
  private wanted = false;

  constructor(action: () => void, intervalMs: number) {
    this.action = action;
    this.intervalMs = intervalMs;
  }

  request(): void {
    if (this.timer !== undefined) {
      this.wanted = true;
      return;
    }
    this.run();
  }

  /** Runs now, if something is waiting or not, and forgets what waited. */
  flush(): void {
    this.dispose();
    this.action();
  }

  dispose(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    this.wanted = false;
  }

  private run(): void {
    this.timer = setTimeout(() => {
      this.timer = undefined;
      if (!this.wanted) return;
      this.wanted = false;
      this.run();
    }, this.intervalMs);
    this.action();
  }
}
