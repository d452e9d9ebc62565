/** How models, their sizes and their way onto this machine are worded. */
import * as vscode from 'vscode';
import type { AvailableModel, EngineFit, PullInfo, RepositoryInfo, Words } from '../../server/protocol';
import { deviceName } from '../footer';

/** 3.1 GB, 78 MB, 515 kB: decimal, as disks are sold. */
export function size(bytes: number): string {
  if (bytes >= 1e9) return `${(bytes / 1e9).toFixed(1)} GB`;
  if (bytes >= 1e6) return `${Math.round(bytes / 1e6)} MB`;
  return `${Math.ceil(bytes / 1e3)} kB`;
}

/** 19.5 B, 26 M. */
export function shortCount(count: number): string {
  if (count >= 1e9) return `${(count / 1e9).toFixed(1)} B`;
  return `${Math.round(count / 1e6)} M`;
}

/** The sentence in the language of the editor. */
export function inLanguage(words: Words): string {
  return vscode.env.language.toLowerCase().startsWith('zh') ? words.zh : words.en;
}

/** 783 M parameters, download 3.1 GB, 0.8 GB on the disk */
export function facts(model: AvailableModel): readonly [string, string, string] {
  return [
    vscode.l10n.t('{0} parameters', shortCount(model.parameters)),
    vscode.l10n.t('download {0}', size(model.downloadBytes)),
    vscode.l10n.t('{0} on the disk', size(model.int8Bytes)),
  ];
}

/** Where a model fits on this machine, in one sentence. */
export function fitSentence(model: Pick<AvailableModel, 'diskFits' | 'engines' | 'int8Bytes'>): string {
  if (!model.diskFits) return vscode.l10n.t('Too little room on the disk: it needs {0}.', size(model.int8Bytes));
  const best = model.engines.find(({ fits }) => fits);
  if (best !== undefined) return fitsOn(best);
  const closest = model.engines.reduce<EngineFit | undefined>(
    (most, one) => ((one.freeBytes ?? 0) > (most?.freeBytes ?? -1) ? one : most),
    undefined,
  );
  if (closest === undefined) return vscode.l10n.t('No engine of this machine can run it.');
  return vscode.l10n.t(
    'Too little memory now: it needs {0}, and {1} are free on {2}.',
    size(closest.needBytes),
    size(closest.freeBytes ?? 0),
    deviceName(closest.device, vscode.l10n.t),
  );
}

function fitsOn({ device: named, needBytes, freeBytes }: EngineFit): string {
  const device = deviceName(named, vscode.l10n.t);
  return freeBytes === undefined
    ? vscode.l10n.t('Fits on {0}: it needs {1} of memory.', device, size(needBytes))
    : vscode.l10n.t('Fits on {0}: it needs {1} of memory, and {2} are free.', device, size(needBytes), size(freeBytes));
}

/** All that one should know before a download, as lines. */
export function details(model: AvailableModel): string {
  const memory = model.engines[0]?.engine === 'cuda' ? model.memory.cuda : model.memory.cpu;
  const lines = [
    facts(model).join(' · '),
    vscode.l10n.t('Memory: {0} with 512 tokens to read, {1} with 2048.', size(memory[0]), size(memory[1])),
    fitSentence(model),
    '',
    ...(model.note === undefined ? [] : [inLanguage(model.note)]),
    vscode.l10n.t('Good at: {0}', inLanguage(model.good)),
    vscode.l10n.t('Bad at: {0}', inLanguage(model.bad)),
    '',
    vscode.l10n.t('It reads up to {0} tokens. License: {1}.', model.window, model.licence),
  ];
  return lines.join('\n');
}

/** The same of a repository that nobody listed. */
export function repositoryDetails(info: RepositoryInfo): string {
  const { parameters, downloadBytes, installBytes: int8Bytes = 0, freeBytes, engines = [] } = info;
  const lines = [
    ...(parameters === undefined ? [] : [vscode.l10n.t('{0} parameters', shortCount(parameters))]),
    vscode.l10n.t('download {0}', size(downloadBytes)),
    vscode.l10n.t('{0} on the disk', size(int8Bytes)),
  ];
  const fit = fitSentence({ int8Bytes, engines, diskFits: int8Bytes <= freeBytes });
  const licence = info.license === undefined ? [] : [vscode.l10n.t('License: {0}.', info.license)];
  const unknown = vscode.l10n.t('Flan does not know this model: it is asked as instruction-tuned T5 models are.');
  return [lines.join(' · '), fit, ...licence, '', unknown].join('\n');
}

/** Downloading: 1.2 of 3.1 GB · 25 MB/s · 2 min left */
export function progressLine(pull: PullInfo): string {
  switch (pull.state) {
    case 'downloading':
      return [vscode.l10n.t('Downloading'), ...amounts(pull)].join(' · ');
    case 'waiting':
      return [vscode.l10n.t('Another process is installing it'), ...amounts(pull)].join(' · ');
    case 'converting':
      return [vscode.l10n.t('Converting'), ...amounts(pull)].join(' · ');
    case 'checking':
      return vscode.l10n.t('Checking what was written…');
    default:
      return vscode.l10n.t('Preparing…');
  }
}

function amounts({ bytes, totalBytes, bytesPerSecond, secondsLeft }: PullInfo): string[] {
  if (totalBytes === 0) return [];
  return [
    `${size(bytes)} / ${size(totalBytes)}`,
    ...(bytesPerSecond > 0 ? [vscode.l10n.t('{0} a second', size(bytesPerSecond))] : []),
    ...(secondsLeft === undefined ? [] : [timeLeft(secondsLeft)]),
  ];
}

function timeLeft(seconds: number): string {
  if (seconds < 60) return vscode.l10n.t('less than a minute left');
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return vscode.l10n.t('{0} min left', minutes);
  return vscode.l10n.t('{0} h {1} min left', Math.floor(minutes / 60), minutes % 60);
}
