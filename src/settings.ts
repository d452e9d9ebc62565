import * as vscode from 'vscode';
import type { EngineChoice, ModeToken } from '../server/protocol';

export const SECTION = 'flan';

/** The user's settings, read afresh for every request. Absent: the server decides. */
export interface Settings {
  /** Name or folder of a model. */
  readonly model?: string;
  readonly engine: EngineChoice;
  readonly maxNewTokens: number;
  /** For UL2, whose prompts name a mode. */
  readonly modeToken: ModeToken;
  /** Folder with the models, the cache and the server's socket. */
  readonly home?: string;
  /** The Node program that runs the server. */
  readonly nodePath?: string;
  /** How long the server stays after its last client has left, in seconds. */
  readonly lingerSeconds: number;
}

/** Settings that say where the server lives: a change asks for a new connection. */
export const CONNECTION_SETTINGS = ['flan.home', 'flan.nodePath'] as const;

export function readSettings(): Settings {
  const section = vscode.workspace.getConfiguration(SECTION);
  const path = (name: string): string | undefined => section.get<string>(name, '').trim() || undefined;
  const model = path('model');
  const home = path('home');
  const nodePath = path('nodePath');
  return {
    engine: section.get<EngineChoice>('engine', 'auto'),
    maxNewTokens: section.get<number>('maxNewTokens', 512),
    lingerSeconds: section.get<number>('lingerSeconds', 300),
    modeToken: section.get<ModeToken>('modeToken', 'auto'),
    ...(model === undefined ? {} : { model }),
    ...(home === undefined ? {} : { home }),
    ...(nodePath === undefined ? {} : { nodePath }),
  };
}

/** Written to the user's own settings: all of these are choices for the machine, not for a project. */
export async function writeSetting(name: 'model' | 'engine', value: string): Promise<void> {
  await vscode.workspace.getConfiguration(SECTION).update(name, value || undefined, vscode.ConfigurationTarget.Global);
}
