/** Ctrl-C: the first stops the request at the next token, the second ends this program at once. */
import { CancellationTokenSource } from 'vscode-jsonrpc';

/** 128 + SIGINT, as shells report it. */
const INTERRUPTED = 130;

export interface Interrupt {
  readonly token: CancellationTokenSource['token'];
  dispose(): void;
}

export function interrupt(): Interrupt {
  const source = new CancellationTokenSource();
  const listener = () => {
    if (source.token.isCancellationRequested) process.exit(INTERRUPTED);
    source.cancel();
  };
  process.on('SIGINT', listener);
  return {
    token: source.token,
    dispose: () => {
      process.off('SIGINT', listener);
      source.dispose();
    },
  };
}
