/**
 * What goes where: answers and JSON on stdout and nothing else there; notes and progress on stderr, as plain lines, or
 * as one line that is rewritten when stderr is a terminal.
 */
import type { Progress } from '../protocol';

/** In a log file, progress is there to show that something goes on, not every step of it. */
const PROGRESS_LINES_MS = 3000;
const CLEAR_LINE = '\r\u001b[K';

export class Output {
  readonly #quiet: boolean;
  readonly #terminal: boolean;
  /** When the last progress line was printed, where lines cannot be rewritten. */
  #progressAt = performance.now();
  /** A rewritable line is on the terminal now. */
  #transient = false;
  /** What was streamed to stdout so far. */
  #streamed = '';

  /** `json`: nothing but the object is printed; progress is not shown. */
  constructor(json: boolean) {
    this.#quiet = json;
    this.#terminal = process.stderr.isTTY === true;
    // `flan … | head` closes the pipe early; there is nobody left to tell.
    process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));
  }

  get streamed(): string {
    return this.#streamed;
  }

  /** One line on stderr; not with --json. */
  note(line: string): void {
    if (this.#quiet) return;
    this.#clear();
    process.stderr.write(`${line}\n`);
  }

  /** What happens just now, of no interest later: only on a terminal. */
  moment(line: string): void {
    if (this.#terminal) this.progress(line);
  }

  /** Progress before the first word: rewritten in place on a terminal, otherwise a line now and then. */
  progress(line: string, fraction?: number): void {
    if (this.#quiet) return;
    const percent = fraction === undefined ? '' : ` ${Math.floor(fraction * 100)} %`;
    if (this.#terminal) {
      const columns = process.stderr.columns || 80;
      process.stderr.write(`${CLEAR_LINE}${`${line}${percent}`.slice(0, columns - 1)}`);
      this.#transient = true;
    } else if (performance.now() - this.#progressAt > PROGRESS_LINES_MS) {
      this.#progressAt = performance.now();
      process.stderr.write(`${line}${percent}\n`);
    }
  }

  /** How many of many are done. */
  progressOf(done: number, of: number): void {
    if (done < of) this.progress(`${done} of ${of}`);
  }

  text(append: string): void {
    if (this.#quiet) return;
    this.#clear();
    this.#streamed += append;
    process.stdout.write(append);
  }

  /** Ends a streamed answer: prints what `text` has beyond what was streamed, and a newline. */
  endText(text: string): void {
    if (this.#quiet) return;
    this.#clear();
    if (text.startsWith(this.#streamed)) process.stdout.write(text.slice(this.#streamed.length));
    else if (text !== this.#streamed.trim()) process.stdout.write(`\n${text}`);
    if (text !== '' || this.#streamed !== '') process.stdout.write('\n');
  }

  lines(lines: readonly string[]): void {
    this.#clear();
    if (lines.length > 0) process.stdout.write(`${lines.join('\n')}\n`);
  }

  json(value: unknown): void {
    process.stdout.write(`${JSON.stringify(value, null, process.stdout.isTTY ? 2 : undefined)}\n`);
  }

  /** The one line of an error, also with --json. */
  error(message: string): void {
    this.#clear();
    process.stderr.write(`flan: ${message.replace(/\s*\n\s*/g, ' ')}\n`);
  }

  #clear(): void {
    if (!this.#transient) return;
    this.#transient = false;
    process.stderr.write(CLEAR_LINE);
  }
}

/** Progress of a request as sentences; text goes to stdout. */
export function showProgress(output: Output): (progress: Progress) => void {
  return (progress) => {
    switch (progress.kind) {
      case 'queued':
        // One ahead of nobody is no wait.
        if (progress.ahead > 0) output.progress(`Waiting: ${progress.ahead} ahead`);
        break;
      case 'loading':
        output.progress(progress.message, progress.fraction);
        break;
      case 'encoding':
        output.moment(`${progress.model} reads ${progress.tokens} tokens on ${progress.device}`);
        break;
      case 'text':
        output.text(progress.append);
        break;
      case 'voting':
        output.moment(`${progress.finished} of ${progress.of} votes`);
        break;
    }
  };
}
