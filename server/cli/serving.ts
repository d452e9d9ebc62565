/** status and stop: about the server itself. Neither starts one. */
import { setTimeout as sleep } from 'node:timers/promises';
import { OtherVersionError } from '../connect';
import { FlanError } from '../errors';
import { Method, type Status } from '../protocol';
import { isAlive } from '../rpc/lock';
import { ServerClient } from './client';
import type { Command } from './options';
import type { Output } from './output';

/** Longer than the server gives itself to free a model. */
const STOP_TIMEOUT_MS = 15_000;

export async function showStatus(command: Command, output: Output): Promise<void> {
  const client = await ServerClient.find();
  if (client === undefined) {
    if (command.json) output.json({ running: false });
    else output.lines(['No server is running. The next command or editor starts one.']);
    return;
  }
  try {
    const status = await client.request<Status>(Method.status, null);
    // This command is a client too; it does not count itself.
    const clients = status.clients - 1;
    if (command.json) output.json({ running: true, ...status, clients });
    else output.lines(describe({ ...status, clients }));
  } finally {
    client.close();
  }
}

function describe(status: Status): string[] {
  const { pid, version, state, clients, queued } = status;
  const lines = [`Server ${version}, process ${pid}: ${state}, ${clients} other clients, ${queued} requests waiting.`];
  if (status.model !== undefined) lines.push(`Loaded: ${status.model} on ${status.device ?? status.engine ?? ''}.`);
  if (status.why !== undefined) lines.push(status.why);
  for (const { model, device } of status.beside ?? []) lines.push(`Also in memory: ${model} on ${device}.`);
  return lines;
}

export async function stopServer(command: Command, output: Output): Promise<void> {
  const pid = await askToStop();
  if (pid !== undefined) await ended(pid);
  if (command.json) output.json({ stopped: pid !== undefined, ...(pid === undefined ? {} : { pid }) });
  else output.lines([pid === undefined ? 'No server is running.' : `Stopped the server (process ${pid}).`]);
}

async function askToStop(): Promise<number | undefined> {
  let client: ServerClient | undefined;
  try {
    client = await ServerClient.find();
    if (client === undefined) return undefined;
    await client.request(Method.stop, null);
    await Promise.race([client.closed(), sleep(STOP_TIMEOUT_MS, undefined, { ref: false })]);
    return client.pid;
  } catch (error) {
    // It does not understand us, but it has just answered on its socket, so the process id is its own.
    if (!(error instanceof OtherVersionError)) throw error;
    process.kill(error.pid, 'SIGTERM');
    return error.pid;
  } finally {
    client?.close();
  }
}

async function ended(pid: number): Promise<void> {
  const until = Date.now() + STOP_TIMEOUT_MS;
  while (isAlive(pid)) {
    if (Date.now() > until) throw new FlanError('stop', `The server (process ${pid}) does not end. Kill that process.`);
    await sleep(10);
  }
}
