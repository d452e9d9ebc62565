/**
 * Installations under way, each as a notification that can be cancelled. The server goes on without this window: what runs
 * is found again after a reload, and what was left unfinished is offered.
 */
import * as vscode from 'vscode';
import type { PullInfo, PullParams, PullState } from '../../server/protocol';
import type { Server } from '../client';
import { explainError, remediesFor } from '../remedies';
import { writeSetting } from '../settings';
import type { HubAccess } from './hub';
import { progressLine } from './words';

/** Models whose installation was begun here and has not been seen to end: name to repository. */
const BEGUN_KEY = 'flan.pulls';
const OVER: readonly PullState[] = ['done', 'failed', 'cancelled', 'paused'];

export interface PullsDependencies {
  readonly server: Server;
  readonly hub: HubAccess;
  readonly memory: vscode.Memento;
  readonly log: vscode.LogOutputChannel;
}

export class Pulls {
  private readonly deps: PullsDependencies;
  private readonly shown = new Set<string>();

  constructor(deps: PullsDependencies) {
    this.deps = deps;
  }

  /** Starts an installation, or joins the one that runs, and shows it until it ends. */
  async start(params: Pick<PullParams, 'model' | 'name'>): Promise<void> {
    const pull = await this.deps.server.pull({ ...params, ...(await this.deps.hub.choice()) });
    await this.remember(pull);
    await this.follow(pull);
  }

  /** After a reload of the window: shows what still runs, and offers what was left unfinished. Starts no server. */
  async findAgain(): Promise<void> {
    const begun = this.begun();
    if (Object.keys(begun).length === 0) return;
    const pulls = (await this.deps.server.pullsIfRunning()) ?? [];
    await Promise.all(
      Object.entries(begun).map(async ([name, model]) => {
        const pull = pulls.find((one) => one.name === name);
        if (pull === undefined || pull.state === 'paused') await this.offerUnfinished(name, model);
        // The command line works on it: its progress is told to whoever waits for the same.
        else if (pull.state === 'waiting') await this.start({ model, name });
        else await this.follow(pull);
      }),
    );
  }

  private async follow(pull: PullInfo): Promise<void> {
    if (this.shown.has(pull.name)) return;
    this.shown.add(pull.name);
    let last = pull;
    try {
      if (!OVER.includes(pull.state)) last = await this.show(pull);
    } finally {
      this.shown.delete(pull.name);
    }
    // What is offered then may begin it again.
    await this.ended(last);
  }

  /** The notification; resolves with the state in which the pull ended, or without when the server went away. */
  private show(first: PullInfo): Thenable<PullInfo> {
    const { server } = this.deps;
    const options = {
      location: vscode.ProgressLocation.Notification,
      title: vscode.l10n.t('Installing {0}', first.name),
      cancellable: true,
    };
    return vscode.window.withProgress(options, (progress, token) => {
      return new Promise<PullInfo>((resolve) => {
        let percent = 0;
        let last = first;
        const subscriptions: vscode.Disposable[] = [];
        const end = (pull: PullInfo) => {
          for (const subscription of subscriptions.splice(0)) subscription.dispose();
          resolve(pull);
        };
        const update = (pull: PullInfo) => {
          if (pull.name !== first.name) return;
          last = pull;
          if (OVER.includes(pull.state)) return end(pull);
          const now = pull.totalBytes === 0 ? 0 : (100 * pull.bytes) / pull.totalBytes;
          progress.report({ message: progressLine(pull), increment: Math.max(0, now - percent) });
          percent = Math.max(percent, now);
        };
        subscriptions.push(
          server.onPull(update),
          server.onDidChangeState(({ kind }) => {
            if (kind === 'off' || kind === 'failed') end({ ...last, state: 'paused' });
          }),
          token.onCancellationRequested(() => {
            progress.report({ message: vscode.l10n.t('Stopping…') });
            server.cancelPull({ name: first.name }).then(end, () => undefined);
          }),
        );
        update(first);
        // What was told between the request and the subscription.
        server.pulls().then(
          (pulls) => update(pulls.find(({ name }) => name === first.name) ?? first),
          () => undefined,
        );
      });
    });
  }

  private async ended(pull: PullInfo): Promise<void> {
    switch (pull.state) {
      case 'done':
        await this.forget(pull.name);
        for (const note of pull.notes ?? []) this.deps.log.info(`${pull.name}: ${note}`);
        return this.offerUse(pull.name);
      case 'failed':
        await this.forget(pull.name);
        return this.explain(pull);
      case 'cancelled':
        await this.forget(pull.name);
        return this.offerRest(pull);
      default:
        return this.offerUnfinished(pull.name, pull.model);
    }
  }

  private async offerUse(name: string): Promise<void> {
    const use = vscode.l10n.t('Use It Now');
    const picked = await vscode.window.showInformationMessage(vscode.l10n.t('{0} is installed.', name), use);
    if (picked !== use) return;
    await writeSetting('model', name);
    await vscode.commands.executeCommand('flan.loadModel');
  }

  private async explain(pull: PullInfo): Promise<void> {
    const { code = 'internal', message = '', saying } = pull.error ?? {};
    this.deps.log.error(`Installing ${pull.model}: ${message}`);
    const error = Object.assign(new Error(message), { data: { code, saying } });
    const again = vscode.l10n.t('Try Again');
    const remedies = remediesFor(error);
    const titles = [...remedies.map(({ title }) => title), ...(isFinal(code) ? [] : [again])];
    const picked = await vscode.window.showErrorMessage(
      vscode.l10n.t('{0} was not installed. {1}', pull.name, explainError(error)),
      ...titles,
    );
    if (picked === again) return this.start(paramsOf(pull));
    const remedy = remedies.find(({ title }) => title === picked);
    if (remedy !== undefined) await vscode.commands.executeCommand(remedy.command);
  }

  private async offerRest(pull: PullInfo): Promise<void> {
    const goOn = vscode.l10n.t('Continue');
    const discard = vscode.l10n.t('Discard');
    const picked = await vscode.window.showInformationMessage(
      vscode.l10n.t('The installation of {0} was stopped. What was downloaded is kept.', pull.name),
      goOn,
      discard,
    );
    if (picked === goOn) await this.start(paramsOf(pull));
    if (picked === discard) await this.deps.server.cancelPull({ name: pull.name, discard: true });
  }

  private async offerUnfinished(name: string, model: string): Promise<void> {
    const goOn = vscode.l10n.t('Continue');
    const later = vscode.l10n.t('Not Now');
    const picked = await vscode.window.showInformationMessage(
      vscode.l10n.t('The installation of {0} is not finished. It goes on where it was.', name),
      goOn,
      later,
    );
    if (picked === goOn) return this.start({ model, name });
    // A notification that was merely closed, or that a reload took away, comes again.
    if (picked === later) await this.forget(name);
  }

  private begun(): Readonly<Record<string, string>> {
    return this.deps.memory.get<Record<string, string>>(BEGUN_KEY, {});
  }

  private async remember(pull: PullInfo): Promise<void> {
    await this.deps.memory.update(BEGUN_KEY, { ...this.begun(), [pull.name]: modelOf(pull) });
  }

  private async forget(name: string): Promise<void> {
    const { [name]: _, ...others } = this.begun();
    await this.deps.memory.update(BEGUN_KEY, others);
  }
}

/** What asks for the same pull again. */
function paramsOf(pull: PullInfo): Pick<PullParams, 'model' | 'name'> {
  return { model: modelOf(pull), name: pull.name };
}

function modelOf({ model, revision }: PullInfo): string {
  return revision === '' || revision === 'main' || model.includes('@') ? model : `${model}@${revision}`;
}

/** Trying again changes nothing about these. */
function isFinal(code: string): boolean {
  return ['unsupported-model', 'not-a-model', 'model-exists', 'config', 'usage', 'hub-unknown'].includes(code);
}
