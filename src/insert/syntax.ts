/**
 * How a language writes comments, out of the language configurations that the installed extensions bring: the editor's API
 * does not tell.
 */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as vscode from 'vscode';
import type { CommentSyntax } from './comment';
import { parseJsonc } from './jsonc';

interface Manifest {
  readonly folder: string;
  readonly json: unknown;
}

/** Reads the configuration of a language once. */
export class CommentSyntaxes {
  private readonly known = new Map<string, Promise<CommentSyntax | undefined>>();

  /** Undefined: the language has no comments, or nobody says how they are written. */
  of(languageId: string): Promise<CommentSyntax | undefined> {
    let syntax = this.known.get(languageId);
    if (syntax === undefined) {
      syntax = find(languageId);
      this.known.set(languageId, syntax);
    }
    return syntax;
  }
}

async function find(languageId: string): Promise<CommentSyntax | undefined> {
  const running = vscode.extensions.all.map((each) => ({ folder: each.extensionPath, json: each.packageJSON }));
  const own = await firstSyntax(running, languageId);
  if (own !== undefined) return own;
  // Over SSH the languages that come with the editor run on the other side; the same are beside this side's program.
  return firstSyntax(await builtIn(), languageId);
}

async function firstSyntax(manifests: readonly Manifest[], languageId: string): Promise<CommentSyntax | undefined> {
  for (const { folder, json } of manifests) {
    for (const language of list(member(member(json, 'contributes'), 'languages'))) {
      const configuration = member(language, 'configuration');
      if (member(language, 'id') !== languageId || typeof configuration !== 'string') continue;
      const syntax = await readSyntax(join(folder, configuration));
      if (syntax !== undefined) return syntax;
    }
  }
  return undefined;
}

async function builtIn(): Promise<Manifest[]> {
  const folder = join(vscode.env.appRoot, 'extensions');
  const names = await readdir(folder).catch(() => []);
  const manifests = names.map(async (name): Promise<Manifest | undefined> => {
    try {
      return {
        folder: join(folder, name),
        json: JSON.parse(await readFile(join(folder, name, 'package.json'), 'utf8')),
      };
    } catch {
      return undefined;
    }
  });
  return (await Promise.all(manifests)).filter((manifest) => manifest !== undefined);
}

async function readSyntax(file: string): Promise<CommentSyntax | undefined> {
  try {
    return syntaxOf(parseJsonc(await readFile(file, 'utf8')));
  } catch {
    return undefined;
  }
}

/** Of a language configuration; undefined when it has no comments. */
export function syntaxOf(configuration: unknown): CommentSyntax | undefined {
  const comments = member(configuration, 'comments');
  const lineComment = member(comments, 'lineComment');
  // Newer configurations say it with an object, which may ask for no indentation.
  const line = typeof lineComment === 'string' ? lineComment : member(lineComment, 'comment');
  const [open, close] = list(member(comments, 'blockComment'));
  const syntax: CommentSyntax = {
    ...(typeof line === 'string' && line !== '' ? { line } : {}),
    ...(typeof open === 'string' && typeof close === 'string' ? { block: [open, close] as const } : {}),
  };
  return syntax.line === undefined && syntax.block === undefined ? undefined : syntax;
}

function member(value: unknown, name: string): unknown {
  if (typeof value !== 'object' || value === null) return undefined;
  return (value as Readonly<Record<string, unknown>>)[name];
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}
