/** The three kinds of theme in one window: the editor follows what the system is said to prefer, and nothing is closed for it. */
import type { Editor } from './editor';

/** The editor's settings for `Themes`. */
export const FOLLOW_THE_SYSTEM = {
  'window.autoDetectColorScheme': true,
  'window.autoDetectHighContrast': true,
  'workbench.preferredLightColorTheme': 'Light Modern',
  'workbench.preferredDarkColorTheme': 'Dark Modern',
  'workbench.preferredHighContrastColorTheme': 'Default High Contrast',
};

/** `root` and `page`: how the workbench and the page of a view show it. */
export const KINDS = {
  light: { colorScheme: 'light', contrast: false, root: 'vs', page: 'vscode-light' },
  dark: { colorScheme: 'dark', contrast: false, root: 'vs-dark', page: 'vscode-dark' },
  contrast: { colorScheme: 'dark', contrast: true, root: 'hc-black', page: 'vscode-high-contrast' },
} as const;
export type Kind = keyof typeof KINDS;
export const ALL_KINDS: readonly Kind[] = ['light', 'dark', 'contrast'];

/** The browser would force its own colors on the page; only the editor is to hear of it. */
const CONTRAST_BY_HAND = `
  const real = window.matchMedia.bind(window);
  const forced = Object.assign(new EventTarget(), { matches: false, media: '(forced-colors: active)' });
  window.matchMedia = (query) => (query.includes('forced-colors') ? forced : real(query));
  window.preferContrast = (on) => {
    if (forced.matches === on) return;
    forced.matches = on;
    forced.dispatchEvent(new Event('change'));
  };
`;

export class Themes {
  private readonly editor: Editor;

  /** Loads the window again. */
  static async of(editor: Editor): Promise<Themes> {
    await editor.page.addInitScript(CONTRAST_BY_HAND);
    await editor.reload();
    return new Themes(editor);
  }

  private constructor(editor: Editor) {
    this.editor = editor;
  }

  /** Changes the theme, and waits until the workbench has it. */
  async use(kind: Kind): Promise<void> {
    const { colorScheme, contrast, root } = KINDS[kind];
    const { page } = this.editor;
    await page.emulateMedia({ colorScheme });
    await page.evaluate(`window.preferContrast(${contrast})`);
    await page.locator(`.monaco-workbench.${root}`).first().waitFor({ timeout: 60_000 });
  }

  /** A picture in each of them. */
  async pictures(name: string): Promise<void> {
    for (const kind of ALL_KINDS) {
      await this.use(kind);
      // Pages in frames get the colors a moment later.
      await this.editor.page.waitForTimeout(300);
      await this.editor.picture(`${name}-${kind}`);
    }
  }
}
