/**
 * The server process: `node server.js [--home DIR] [--linger SECONDS]`. One per user and machine; front ends find or
 * start it with connect.ts. It prints to a log file that its starter opened; no text of a user is ever printed.
 */

import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { version } from '../package.json';
import { FlanError } from './errors';
import { flanHome, flanPaths } from './paths';
import type { Status } from './protocol';
import { Clients } from './rpc/clients';
import { buildOf } from './rpc/dial';
import { handlersOf } from './rpc/handlers';
import { DEFAULT_LINGER_SECONDS, Lifetime } from './rpc/lifetime';
import { type Listener, listen } from './rpc/listen';
import { Meter } from './runtime/meter';
import { ModelFiles } from './runtime/model-files';
import { installedModels, modelFolders } from './runtime/models';
import { PromptRequests } from './runtime/prompts';
import { PullService } from './runtime/pulls';
import { ModelService, type ResolveChoice } from './runtime/service';
import { ModelThread } from './runtime/thread';

/** The log file is put aside only when a server starts, and this one may run for months. */
const MAX_LOGGED = 4 * 1024 * 1024;
/** A step of a large model on a slow device takes seconds; the device is freed by the system if this is not enough. */
const FREE_TIMEOUT_MS = 10_000;

async function main(): Promise<void> {
  process.umask(0o077);
  const { home, lingerSeconds } = options();
  const paths = flanPaths(home);
  const thread = new ModelThread(join(__dirname, 'worker.js'), { cacheDir: paths.cache }, log);
  const resolve: ResolveChoice = async ({ model, engine = 'auto', weights = 'int8' }) => {
    return { folders: await modelFolders(paths, model), engine, weights };
  };
  const service = new ModelService(thread, resolve);
  const meter = new Meter(join(__dirname, 'meter.js'));
  const pulls = new PullService(join(__dirname, 'pull.js'), paths.models);
  const status = (): Status => ({ ...service.status, pid: process.pid, version, clients: clients.count });

  const handlers = handlersOf({
    service,
    prompts: new PromptRequests(service, meter, resolve),
    pulls,
    files: new ModelFiles(paths, pulls),
    status,
    models: () => installedModels(paths),
    // The engines' code is read only for these three: the server itself has no need of it.
    available: async () => (await import('./runtime/available')).availableModels(paths, { held: service.held }),
    judged: async (info) => (await import('./runtime/available')).judged(info, { held: service.held }),
    doctor: async () => (await import('./runtime/doctor')).doctorItems(paths, { held: service.held }),
    stop: (reason) => setImmediate(() => leave(reason)),
  });
  const clients = new Clients({
    version,
    handlers,
    log,
    status,
    counted: () => stayWhileUsed(),
    busy: () => pulls.busy,
    replace: () => setImmediate(() => leave('a client of another build takes over')),
  });
  const lifetime = new Lifetime(lingerSeconds * 1000, (reason) => leave(reason));
  service.onStatus = () => clients.broadcast();
  // A download of hours goes on when the last window is closed.
  const stayWhileUsed = () => lifetime.clients(clients.count + (pulls.busy ? 1 : 0));
  pulls.onBusy = stayWhileUsed;
  pulls.onChange = (pull) => clients.tellOfPull(pull);
  // The client has its error by then; its next request starts a new process, which the driver serves again.
  service.onDeviceLost = () => setImmediate(() => leave('the GPU refuses this process', 1));

  let listener: Listener | undefined;
  let leaving = false;
  function leave(reason: string, code = 0): void {
    if (leaving) return;
    leaving = true;
    log(`leaving: ${reason}`);
    lifetime.stop();
    listener?.close();
    // A native call cannot be interrupted, and ending a thread inside one aborts the process: then be quick about it.
    setTimeout(() => process.kill(process.pid, 'SIGKILL'), FREE_TIMEOUT_MS).unref();
    void Promise.all([service.dispose(), pulls.dispose()])
      .catch((error: unknown) => log(String(error)))
      .then(() => clients.endAll())
      .finally(() => process.exit(code));
  }

  process.on('SIGTERM', () => leave('SIGTERM'));
  process.on('SIGINT', () => leave('SIGINT'));
  process.on('uncaughtException', (error) => {
    log(`uncaught: ${error.stack ?? error.message}`);
    leave('a fault', 1);
  });

  listener = await listen(paths, { version, build: await buildOf(__filename) }, clients);
  if (listener === undefined) {
    log('another server runs');
    process.exit(0);
  }
  log(`listening on ${listener.info.socket}, version ${version}, linger ${lingerSeconds} s`);
  thread.warmUp();
}

function options(): { readonly home: string; readonly lingerSeconds: number } {
  const { values } = parseArgs({ options: { home: { type: 'string' }, linger: { type: 'string' } } });
  const given = values.linger ?? process.env['FLAN_LINGER'];
  const seconds = given === undefined || given === '' ? DEFAULT_LINGER_SECONDS : Number(given);
  // setTimeout takes at most 2^31 ms.
  if (!(seconds >= 0 && seconds <= 2_000_000)) throw new FlanError('usage', `--linger must be seconds, not ${given}.`);
  return { home: values.home ?? flanHome(), lingerSeconds: seconds };
}

let logged = 0;
function log(line: string): void {
  if (logged > MAX_LOGGED) return;
  logged += line.length;
  console.error(`${new Date().toISOString()} ${process.pid} ${logged > MAX_LOGGED ? 'The log is full.' : line}`);
}

main().catch((error: unknown) => {
  log(error instanceof FlanError ? error.message : String(error instanceof Error ? error.stack : error));
  process.exit(1);
});
