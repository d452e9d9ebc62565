/**
 * The waiting line for the one model: round robin over the clients, first come first served within one. So a client
 * that asks for fifty summaries does not make another wait for all of them.
 */
export class FairQueue<T> {
  /** Map order is the order in which the clients get their next turn. */
  readonly #lines = new Map<number, T[]>();

  get size(): number {
    let size = 0;
    for (const line of this.#lines.values()) size += line.length;
    return size;
  }

  push(client: number, item: T): void {
    const line = this.#lines.get(client);
    if (line === undefined) this.#lines.set(client, [item]);
    else line.push(item);
  }

  /** The next item; its client goes to the end of the round. */
  shift(): T | undefined {
    for (const [client, line] of this.#lines) {
      const item = line.shift();
      this.#lines.delete(client);
      if (line.length > 0) this.#lines.set(client, line);
      if (item !== undefined) return item;
    }
    return undefined;
  }

  /** Takes an item out of the line; false when it is not (or no longer) in it. */
  remove(client: number, item: T): boolean {
    const line = this.#lines.get(client);
    const at = line?.indexOf(item) ?? -1;
    if (line === undefined || at < 0) return false;
    line.splice(at, 1);
    if (line.length === 0) this.#lines.delete(client);
    return true;
  }

  /** All items in the order in which they will be taken if nobody else comes. */
  order(): T[] {
    const lines = [...this.#lines.values()];
    const longest = Math.max(0, ...lines.map((line) => line.length));
    const result: T[] = [];
    for (let turn = 0; turn < longest; turn++) {
      for (const line of lines) {
        const item = line[turn];
        if (item !== undefined) result.push(item);
      }
    }
    return result;
  }
}
