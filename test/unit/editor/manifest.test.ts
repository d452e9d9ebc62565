// What package.json promises to the editor fits together: commands, pictures, links, and what a workspace may not decide.
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(__dirname, '..', '..', '..');
const read = (name: string): string => readFileSync(join(root, name), 'utf8');
const manifest = JSON.parse(read('package.json'));
const { contributes } = manifest;
const commands: string[] = contributes.commands.map(({ command }: { command: string }) => command);

/** Commands behind the links of a text. */
function linked(text: string): string[] {
  return [...text.matchAll(/\(command:([\w.]+)[^)]*\)/g)].map((match) => match[1] ?? '');
}

it('no command is declared twice', () => {
  expect(commands.filter((command, index) => commands.indexOf(command) < index)).toEqual([]);
});

describe('every command that is offered exists', () => {
  const views = Object.values<{ id: string }[]>(contributes.views)
    .flat()
    .map(({ id }) => `${id}.focus`);
  const known = new Set([...commands, ...views]);

  it('in menus', () => {
    const offered = Object.values<{ command?: string }[]>(contributes.menus).flat();
    expect(offered.filter(({ command }) => command !== undefined && !known.has(command))).toEqual([]);
  });

  it('in the walkthrough and in empty views, the same in both languages', () => {
    const [english, chinese] = ['package.nls.json', 'package.nls.zh-cn.json'].map((name) => JSON.parse(read(name)));
    for (const [key, text] of Object.entries<string>(english)) {
      const links = linked(text);
      expect(links.filter((command) => !known.has(command))).toEqual([]);
      expect(linked(chinese[key]), key).toEqual(links);
    }
    for (const { steps } of contributes.walkthroughs) {
      for (const { completionEvents } of steps) {
        for (const event of completionEvents as string[]) {
          const [kind, id = ''] = event.split(':');
          if (kind === 'onCommand') expect(commands).toContain(id);
          else expect(views).toContain(`${id}.focus`);
        }
      }
    }
  });
});

it('every picture is there, goes into the package, and takes the colors of the theme', () => {
  const allowed = read('.vscodeignore').split('\n');
  for (const { steps } of contributes.walkthroughs) {
    for (const { media } of steps) {
      expect(existsSync(join(root, media.svg)), media.svg).toBe(true);
      expect(allowed).toContain(`!${media.svg.replace(/[^/]+\.svg$/, '*.svg')}`);
      expect(read(media.svg)).toContain('var(--vscode-');
      expect(read(media.svg)).not.toMatch(/(?:fill|stroke)(?:=":?|:)#/);
      // The editor's page forbids style attributes: what has one is not drawn.
      expect(read(media.svg)).not.toContain('style=');
    }
  }
  for (const { icon } of contributes.viewsContainers.activitybar) {
    expect(allowed).toContain(`!${icon}`);
    expect(read(icon)).toContain('currentColor');
  }
});

it('paths and programs belong to the machine, and a workspace that is not trusted may not set them', () => {
  const settings = Object.assign(
    {},
    ...contributes.configuration.map(({ properties }: { properties: object }) => properties),
  );
  const { restrictedConfigurations } = manifest.capabilities.untrustedWorkspaces;
  for (const name of ['flan.model', 'flan.home', 'flan.nodePath']) {
    expect(settings[name].scope, name).toBe('machine');
    expect(restrictedConfigurations).toContain(name);
  }
  expect(manifest.extensionKind).toEqual(['workspace']);
});

it('settings are grouped and described, and each has a default', () => {
  for (const group of contributes.configuration) {
    expect(group.title).toMatch(/^%settings\.\w+%$/);
    for (const [name, setting] of Object.entries<Record<string, unknown>>(group.properties)) {
      expect(setting['description'] ?? setting['markdownDescription'], name).toMatch(/^%setting\./);
      expect(setting['default'], name).toBeDefined();
    }
  }
});

it('a window that is only a browser has no part of this, and is told so', () => {
  expect(manifest.browser).toBeUndefined();
  expect(JSON.parse(read('package.nls.json')).virtual).toContain('a window that is only a browser has none');
});

it.each(['README.md', 'docs/pictures.md'])('every picture and page that %s names is there', (page) => {
  const named = [...read(page).matchAll(/\]\((?!https?:|#)([^)]+)\)/g)].map((match) => match[1] ?? '');
  expect(named.length).toBeGreaterThan(3);
  expect(named.filter((file) => !existsSync(join(root, dirname(page), file)))).toEqual([]);
});
