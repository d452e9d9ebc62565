/** What is told while another process pulls the same model: how far it is, as its journal says. */
import { readJournal } from './journal';
import { Meter } from './meter';
import { describe, type PullProgress } from './progress';
import { reachedIn, type Workspace } from './workspace';

const LOOK_MS = 1_000;

/** Tells of the pull of process `pid` until the function that it returns is called. */
export function watchOther(space: Workspace, pid: number, onProgress: (progress: PullProgress) => void): () => void {
  const message = `Waiting for process ${pid}, which pulls the same model`;
  let meter: Meter | undefined;
  let before = 0;
  let over = false;
  onProgress({ state: 'waiting', message, bytes: 0, totalBytes: 0, bytesPerSecond: 0 });
  const look = async () => {
    const journal = await readJournal(space.journal).catch(() => undefined);
    if (!journal || over) return;
    const bytes = reachedIn(journal);
    if (meter) meter.add(bytes - before);
    else meter = new Meter(journal.head.totalBytes, bytes);
    before = bytes;
    const reading = meter.read();
    onProgress({ state: 'waiting', message: `${message}: ${describe(reading)}`, ...reading });
  };
  const timer = setInterval(() => void look(), LOOK_MS);
  void look();
  return () => {
    over = true;
    clearInterval(timer);
  };
}
