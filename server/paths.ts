/**
 * Where everything of flan lies on this machine: one folder per user, and a private socket in it.
 *
 *   FLAN_HOME/models/<name>/   installed models     FLAN_HOME/run/    token, lock, socket, who is running (0700)
 *   FLAN_HOME/cache/           converted weights    FLAN_HOME/logs/   the server's log
 */
import { createHash, randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync } from 'node:fs';
import { homedir, tmpdir, userInfo } from 'node:os';
import { isAbsolute, join, resolve } from 'node:path';
import { FlanError } from './errors';

/** sockaddr_un.sun_path with its closing zero: 108 bytes on Linux, 104 on macOS and the BSDs. */
const SOCKET_PATH_BYTES = process.platform === 'linux' ? 107 : 103;

export interface Paths {
  readonly home: string;
  readonly models: string;
  readonly cache: string;
  readonly run: string;
  readonly logs: string;
  /** The secret that a client presents; made anew at each start of the server. */
  readonly token: string;
  /** Held while a server starts, so that two never do at once. */
  readonly lock: string;
  /** `ServerInfo` of the running server. */
  readonly info: string;
  readonly log: string;
}

/** Another user could have put the folder there: the socket would not be private. */
export class UnsafeFolderError extends FlanError {
  constructor(folder: string) {
    super('unsafe-folder', `The folder ${folder} is not yours alone. Remove it, or set FLAN_HOME to a shorter path.`);
  }
}

/** The data folder: FLAN_HOME, or the platform's folder for a user's application data. */
export function flanHome(env: NodeJS.ProcessEnv = process.env, platform: NodeJS.Platform = process.platform): string {
  const chosen = env['FLAN_HOME'];
  if (chosen) return resolve(chosen);
  if (platform === 'win32') return join(env['LOCALAPPDATA'] ?? join(homedir(), 'AppData', 'Local'), 'flan');
  if (platform === 'darwin') return join(homedir(), 'Library', 'Application Support', 'flan');
  const data = env['XDG_DATA_HOME'];
  // The XDG specification: a relative path is to be ignored.
  return join(data && isAbsolute(data) ? data : join(homedir(), '.local', 'share'), 'flan');
}

export function flanPaths(home: string = flanHome()): Paths {
  const run = join(home, 'run');
  const logs = join(home, 'logs');
  return {
    home,
    models: join(home, 'models'),
    cache: join(home, 'cache'),
    run,
    logs,
    token: join(run, 'token'),
    lock: join(run, 'server.lock'),
    info: join(run, 'server.json'),
    log: join(logs, 'server.log'),
  };
}

/** The data folder cannot be made or written. */
export class HomeError extends FlanError {
  constructor(home: string, error: unknown) {
    const reason = error instanceof Error ? error.message : String(error);
    super('home', `The data folder ${home} cannot be used (${reason}). Set FLAN_HOME to a folder that you may write.`);
  }
}

/**
 * Creates the folders that a server needs before it can start; `run` is the user's alone.
 * @throws HomeError, UnsafeFolderError
 */
export function createFolders(paths: Paths): void {
  try {
    mkdirSync(paths.run, { recursive: true, mode: 0o700 });
    mkdirSync(paths.logs, { recursive: true, mode: 0o700 });
  } catch (error) {
    throw new HomeError(paths.home, error);
  }
  assertPrivate(paths.run);
}

/**
 * The address at which a server is to listen: in `run` when that is short enough for the system, otherwise under a short
 * private folder, which is created. On Windows any user may make a pipe of any name, and take a known one before us:
 * there the name is a new one every time, and clients learn it from the server's info file.
 */
export function socketAddress(paths: Paths, env: NodeJS.ProcessEnv = process.env): string {
  const hash = createHash('sha256').update(`${userInfo().username}\0${paths.home}`).digest('hex').slice(0, 16);
  if (process.platform === 'win32') return `\\\\.\\pipe\\flan-${hash}-${randomBytes(8).toString('hex')}`;
  const fits = (path: string) => Buffer.byteLength(path) <= SOCKET_PATH_BYTES;
  const own = join(paths.run, 'socket');
  if (fits(own)) return own;
  const runtime = env['XDG_RUNTIME_DIR'];
  for (const base of [runtime && isAbsolute(runtime) ? runtime : undefined, tmpdir(), '/tmp']) {
    if (base === undefined) continue;
    const folder = join(base, `flan-${userInfo().uid}`);
    const path = join(folder, `${hash}.sock`);
    if (!fits(path)) continue;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    assertPrivate(folder);
    return path;
  }
  throw new FlanError('socket-path', `The path ${own} is too long for a socket. Set FLAN_HOME to a shorter one.`);
}

/** Throws unless `folder` is a real directory of this user that nobody else can enter. */
function assertPrivate(folder: string): void {
  if (process.platform === 'win32') return;
  const stat = lstatSync(folder);
  if (!stat.isDirectory() || stat.uid !== process.getuid?.() || (stat.mode & 0o077) !== 0) {
    throw new UnsafeFolderError(folder);
  }
}
