// Every visible string exists in English and in Simplified Chinese, and no translation is left over.
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const root = join(__dirname, '..', '..');

function json(name: string): Record<string, string> {
  return JSON.parse(readFileSync(join(root, name), 'utf8'));
}

/** In `src`, `l10n.t('…')`, and `t('…')`, the name under which pure modules are handed the same function. */
const IN_EDITOR = /(?<![\w.])(?:vscode\.l10n\.|l10n\.)?t\(\s*('(?:[^'\\\n]|\\.)*'|[^\s])/g;
/** In `server`, the sentences that it hands to front ends to be translated there. */
const IN_SERVER = /(?<![\w.])say\(\s*('(?:[^'\\\n]|\\.)*'|[^\s])/g;
/** Where such sentences are made and translated, whatever they are. */
const HANDS_ON: readonly string[] = ['src/translated.ts', 'server/saying.ts'];

function messagesInSources(): { messages: Set<string>; opaque: string[] } {
  const messages = new Set<string>();
  const opaque: string[] = [];
  for (const [folder, calls] of [
    ['src', IN_EDITOR],
    ['server', IN_SERVER],
  ] as const) {
    for (const file of readdirSync(join(root, folder), { recursive: true, encoding: 'utf8' })) {
      const name = `${folder}/${file}`;
      if (!name.endsWith('.ts') || HANDS_ON.includes(name)) continue;
      const source = readFileSync(join(root, name), 'utf8');
      for (const call of source.matchAll(calls)) {
        const argument = call[1] ?? '';
        if (argument.length > 2) messages.add(argument.slice(1, -1).replace(/\\(.)/g, '$1'));
        else opaque.push(`${name}: ${call[0]}`);
      }
    }
  }
  return { messages, opaque };
}

function placeholders(text: string): string[] {
  return [...new Set(text.match(/\{\d+\}/g) ?? [])].sort();
}

describe('strings in the code', () => {
  const { messages, opaque } = messagesInSources();
  const chinese = json('l10n/bundle.l10n.zh-cn.json');

  it('are literals, so that they can be collected', () => {
    expect(messages.size).toBeGreaterThan(50);
    expect(opaque).toEqual([]);
  });

  it('are all translated, and nothing else is', () => {
    expect(Object.keys(chinese).sort()).toEqual([...messages].sort());
  });

  it('use Chinese punctuation', () => {
    const texts = [...Object.values(chinese), ...Object.values(json('package.nls.zh-cn.json'))];
    expect(texts.filter((text) => /\p{Script=Han}[,:;?()]|[,:;?()]\p{Script=Han}/u.test(text))).toEqual([]);
  });

  it('keep their placeholders and are not left in English', () => {
    for (const [english, translated] of Object.entries(chinese)) {
      expect(placeholders(translated), english).toEqual(placeholders(english));
      expect(translated, english).toMatch(/\p{Script=Han}|^\{0\}( · |（|。|\{1\}%)/u);
    }
  });
});

describe('strings in package.json', () => {
  const manifest = readFileSync(join(root, 'package.json'), 'utf8');
  const used = [...manifest.matchAll(/"%([\w.]+)%"/g)].map((match) => match[1] ?? '');
  const english = json('package.nls.json');
  const chinese = json('package.nls.zh-cn.json');

  it('all have an English text, and no text is left over', () => {
    expect(Object.keys(english).sort()).toEqual([...new Set(used)].sort());
  });

  it('are all translated', () => {
    expect(Object.keys(chinese).sort()).toEqual(Object.keys(english).sort());
    for (const [key, text] of Object.entries(chinese)) {
      if (key !== 'submenu') expect(text, key).toMatch(/\p{Script=Han}/u);
    }
  });

  it('are never written out where a reader would see them', () => {
    const { contributes } = JSON.parse(manifest);
    const visible: unknown[] = [];
    for (const command of contributes.commands) visible.push(command.title);
    for (const submenu of contributes.submenus) visible.push(submenu.label);
    for (const group of contributes.configuration) {
      visible.push(group.title);
      for (const property of Object.values<Record<string, unknown>>(group.properties)) {
        visible.push(
          property['description'] ?? property['markdownDescription'],
          ...((property['enumDescriptions'] ?? []) as unknown[]),
        );
      }
    }
    for (const view of Object.values<{ name: string }[]>(contributes.views).flat()) visible.push(view.name);
    for (const welcome of contributes.viewsWelcome) visible.push(welcome.contents);
    for (const walkthrough of contributes.walkthroughs) {
      visible.push(walkthrough.title, walkthrough.description);
      for (const step of walkthrough.steps) visible.push(step.title, step.description, step.media.altText);
    }
    expect(visible.filter((text) => typeof text !== 'string' || !/^%[\w.]+%$/.test(text))).toEqual([]);
  });
});
