/** Looks into a running extension host through Node's own inspector: its heap, and what its CPU did. */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setPriority } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { WebSocket } from 'undici';

/** One node of a CPU profile, as the protocol gives it. */
interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  readonly children?: readonly number[];
}

export interface Profile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  /** Microseconds before each sample. */
  readonly timeDeltas: readonly number[];
}

/** Enough that what else runs on the machine takes next to nothing from it. */
const FAVOURED = -15;

export class Inspector {
  private readonly socket: WebSocket;
  private readonly pid: number;
  private readonly waiting = new Map<number, { resolve: (value: never) => void; reject: (error: Error) => void }>();
  private last = 0;

  /** Of the extension host among the descendants of `root`. The signal makes Node listen; nothing was asked of it before. */
  static async ofExtensionHost(root: number): Promise<Inspector> {
    const pid = extensionHost(root);
    if (listening(pid) === undefined) process.kill(pid, 'SIGUSR1');
    const { port } = await opened(pid);
    const targets: unknown = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
    const [target] = targets as readonly { readonly webSocketDebuggerUrl: string }[];
    if (target === undefined) throw new Error('the extension host offers nothing to inspect');
    const socket = new WebSocket(target.webSocketDebuggerUrl);
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', reject);
    });
    return new Inspector(socket, pid);
  }

  private constructor(socket: WebSocket, pid: number) {
    this.socket = socket;
    this.pid = pid;
    socket.addEventListener('message', ({ data }) => {
      const { id, result, error } = JSON.parse(String(data));
      const waiting = this.waiting.get(id);
      this.waiting.delete(id);
      if (error === undefined) waiting?.resolve(result as never);
      else waiting?.reject(new Error(error.message));
    });
  }

  close(): void {
    this.socket.close();
  }

  /**
   * Lets the host's main thread run before everything else, so that a stretch of it is its own work and not the time that
   * others had the processor. What it starts from now on is favoured as well. False: this user may not.
   */
  favour(): boolean {
    try {
      setPriority(this.pid, FAVOURED);
      return true;
    } catch {
      return false;
    }
  }

  /** Bytes of live objects, after everything else was collected. */
  async heap(): Promise<number> {
    await this.send('HeapProfiler.enable');
    // Finalizers free more; the second pass takes that.
    for (let i = 0; i < 2; i++) await this.send('HeapProfiler.collectGarbage');
    const { usedSize } = await this.send<{ usedSize: number }>('Runtime.getHeapUsage');
    return usedSize;
  }

  async startProfile(): Promise<void> {
    await this.send('Profiler.enable');
    await this.send('Profiler.setSamplingInterval', { interval: 500 });
    await this.send('Profiler.start');
  }

  async stopProfile(): Promise<Profile> {
    return (await this.send<{ profile: Profile }>('Profiler.stop')).profile;
  }

  private send<Result = unknown>(method: string, params: object = {}): Promise<Result> {
    this.last += 1;
    const id = this.last;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve: resolve as (value: never) => void, reject });
      this.socket.send(JSON.stringify({ id, method, params }));
    });
  }
}

/** A time in which the event loop did one thing after another without a rest. */
export interface Stretch {
  readonly ms: number;
  /** What was at work for most of it: `function file:line`, from the outermost inwards. */
  readonly busiest: readonly string[];
}

/**
 * The longest runs of samples in a row, longest first. With `files`: samples with code of such a file on the stack;
 * without: all that are not idle. Two tasks with no rest in between count as one, so this is an upper bound; a pause of
 * the whole process, which other programs cause, counts as well.
 */
export function longestStretches(profile: Profile, most: number, files?: RegExp): Stretch[] {
  const { nodes, samples, timeDeltas } = profile;
  const parent = new Map<number, ProfileNode>();
  const byId = new Map(nodes.map((node) => [node.id, node]));
  for (const node of nodes) for (const child of node.children ?? []) parent.set(child, node);
  const known = new Map<number, boolean>();
  const counts = (id: number): boolean => {
    const before = known.get(id);
    if (before !== undefined) return before;
    const frame = byId.get(id)?.callFrame;
    const above = parent.get(id);
    const found =
      files === undefined
        ? !['(idle)', '(root)', '(program)'].includes(frame?.functionName ?? '')
        : files.test(frame?.url ?? '') || (above !== undefined && counts(above.id));
    known.set(id, found);
    return found;
  };
  const found: { ms: number; readonly parts: Map<number, number> }[] = [];
  let current: (typeof found)[number] | undefined;
  for (const [index, sample] of samples.entries()) {
    if (!counts(sample)) {
      current = undefined;
      continue;
    }
    if (current === undefined) {
      current = { ms: 0, parts: new Map() };
      found.push(current);
    }
    const ms = (timeDeltas[index + 1] ?? 0) / 1000;
    current.ms += ms;
    current.parts.set(sample, (current.parts.get(sample) ?? 0) + ms);
  }
  return found
    .sort((a, b) => b.ms - a.ms)
    .slice(0, most)
    .map(({ ms, parts }) => {
      const [busiest] = [...parts].sort((a, b) => b[1] - a[1])[0] ?? [0];
      const stack: string[] = [];
      for (let node = byId.get(busiest); node !== undefined; node = parent.get(node.id)) {
        const { functionName, url, lineNumber } = node.callFrame;
        if (url !== '' || functionName.startsWith('(g')) {
          stack.unshift(`${functionName || '(anonymous)'} ${url.slice(url.lastIndexOf('/') + 1)}:${lineNumber + 1}`);
        }
      }
      return { ms: Math.round(ms * 10) / 10, busiest: stack.slice(-6) };
    });
}

function extensionHost(root: number): number {
  const parents = new Map<number, number>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const stat = read(`/proc/${name}/stat`);
    // The name of the program, in parentheses, may hold spaces.
    parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]));
  }
  const belongs = (pid: number): boolean => pid === root || (parents.has(pid) && belongs(parents.get(pid) ?? 0));
  const found = [...parents.keys()].find(
    (pid) => pid > 1 && read(`/proc/${pid}/cmdline`).includes('type=extensionHost') && belongs(pid),
  );
  if (found === undefined) throw new Error('no extension host runs');
  return found;
}

/** The inspector's port of a process; undefined while it has none. */
function listening(pid: number): { port: number } | undefined {
  const inodes = new Set<string>();
  for (const fd of readdirSync(`/proc/${pid}/fd`)) {
    let target = '';
    try {
      target = readlinkSync(`/proc/${pid}/fd/${fd}`);
    } catch {
      // Closed since the folder was read.
    }
    const inode = /^socket:\[(\d+)\]$/.exec(target)?.[1];
    if (inode !== undefined) inodes.add(inode);
  }
  for (const line of read('/proc/net/tcp').split('\n').slice(1)) {
    const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
    if (state === '0A' && inodes.has(inode)) return { port: Number.parseInt(local.split(':')[1] ?? '', 16) };
  }
  return undefined;
}

async function opened(pid: number): Promise<{ port: number }> {
  for (let i = 0; i < 600; i++) {
    const found = listening(pid);
    if (found !== undefined) return found;
    await sleep(100);
  }
  throw new Error('the extension host did not open its inspector');
}

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
