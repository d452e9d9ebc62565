/** A person at the prompt-set view: finds things by the names that a screen reader says. */
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import type { Frame, FrameLocator, Locator } from 'playwright-core';
import { expect } from 'vitest';
import type { PromptSet } from '../../../server/protocol';
import type { Editor } from './editor';
import type { Workbench } from './workbench';

const WAIT = { timeout: 60_000 };
const AXE = readFileSync(createRequire(__filename).resolve('axe-core/axe.min.js'), 'utf8');

/** The text of one element. */
export async function textOf(locator: Locator): Promise<string> {
  return ((await locator.textContent()) ?? '').trim();
}

/** What axe-core says against the page; one line for each rule and element. */
interface Violation {
  readonly id: string;
  readonly nodes: readonly { readonly target: readonly unknown[]; readonly failureSummary?: string }[];
}

export class PromptView {
  readonly editor: Editor;
  readonly workbench: Workbench;
  readonly page: FrameLocator;

  constructor(editor: Editor, workbench: Workbench) {
    this.editor = editor;
    this.workbench = workbench;
    this.page = editor.page.frameLocator('iframe.webview.ready').frameLocator('#active-frame');
  }

  /** By its place in the activity bar. */
  async open(): Promise<void> {
    await this.editor.page.locator('.activitybar .action-label[aria-label^="Flan"]').click();
    await this.page.locator('#picker').waitFor(WAIT);
  }

  button(name: string | RegExp): Locator {
    return this.page.getByRole('button', { name, exact: typeof name === 'string' });
  }

  field(label: string): Locator {
    return this.page.getByRole('textbox', { name: label, exact: true });
  }

  get examples(): Locator {
    return this.page.locator('ol.examples > li');
  }

  example(number: number): Locator {
    return this.examples.nth(number - 1);
  }

  /** Inputs and outputs in the order of the page. */
  async texts(): Promise<string[][]> {
    const rows: string[][] = [];
    for (const row of await this.examples.all()) {
      const fields = await row.locator('textarea').all();
      rows.push(await Promise.all(fields.map((field) => field.inputValue())));
    }
    return rows;
  }

  get inputs(): Promise<string[]> {
    return this.texts().then((rows) => rows.map(([input = '']) => input));
  }

  /** The name in the header. */
  async name(): Promise<string> {
    return textOf(this.page.locator('.picker-name'));
  }

  /** What was said to a screen reader last. */
  async said(): Promise<string> {
    return textOf(this.page.locator('#said'));
  }

  /** From the gallery, or empty; kept in the workspace. */
  async create(kind: string, name?: string): Promise<void> {
    const before = await this.name();
    await this.editor.command('Flan: New Prompt Set…');
    await this.pick(kind);
    await this.answerBox(name);
    await this.pick('Workspace');
    await expect.poll(() => this.name(), WAIT).not.toBe(before);
  }

  /** Chooses an entry of the quick pick that is open. */
  async pick(text: string): Promise<void> {
    // Not the palette that the command was chosen in: its rows may have the same words, and give way while they are clicked.
    const input = this.editor.quickPick.locator('.quick-input-box input');
    await expect.poll(() => input.inputValue(), WAIT).not.toMatch(/^>/);
    const row = this.editor.quickPickRows.filter({ hasText: text }).first();
    await row.waitFor(WAIT);
    await row.click();
  }

  /** Enters a name into the input box that is open; without one, what it proposes. */
  async answerBox(text?: string): Promise<void> {
    const input = this.editor.quickPick.locator('.quick-input-box input');
    await this.editor.quickPick.getByText("Press 'Enter' to confirm").waitFor(WAIT);
    if (text !== undefined) await input.fill(text);
    await input.press('Enter');
  }

  /** A path in the editor's own file dialog. */
  async dialog(path: string): Promise<void> {
    const input = this.editor.quickPick.locator('.quick-input-box input');
    await expect.poll(() => input.inputValue(), WAIT).toContain(this.workbench.workspace);
    await input.fill(path);
    await this.editor.quickPick
      .locator('.quick-input-action .monaco-button, .monaco-text-button')
      .first()
      .waitFor(WAIT);
    await input.press('Enter');
  }

  async addExample(input: string, output: string): Promise<void> {
    await this.button('Add an Example').first().click();
    const number = await this.examples.count();
    await this.field(`Input of example ${number}`).fill(input);
    await this.field(`Output of example ${number}`).fill(output);
  }

  /** With the keys that save a file. */
  async save(): Promise<void> {
    await this.page.locator('#picker').focus();
    await this.editor.page.keyboard.press('Control+s');
    await expect.poll(() => textOf(this.page.locator('.saved')), WAIT).toBe('');
  }

  read(file: string): PromptSet {
    return JSON.parse(readFileSync(join(this.workbench.workspace, '.flan', 'prompts', file), 'utf8'));
  }

  async tab(name: 'Text' | 'Selection' | 'File'): Promise<void> {
    await this.page.getByRole('tab', { name, exact: true }).click();
  }

  /** Waits for the end of the answer, and gives its text. */
  async answer(): Promise<string> {
    await this.page.locator('.answer-facts').waitFor(WAIT);
    return textOf(this.page.locator('.answer-text'));
  }

  /** `123 of 2,048 tokens` as numbers, when the meter has counted what is there. */
  async total(): Promise<number> {
    const text = await textOf(this.page.locator('.total'));
    return Number((/^[\d,]+/.exec(text)?.[0] ?? '').replaceAll(',', ''));
  }

  /** The accessibility scan of the page, in the theme and state that it is in. */
  async violations(): Promise<string[]> {
    const frame = await this.frame();
    await frame.evaluate(AXE);
    const found = await frame.evaluate(`axe.run(document, { resultTypes: ['violations'] }).then((r) => r.violations)`);
    return (found as readonly Violation[]).flatMap(({ id, nodes }) =>
      nodes.map(({ target, failureSummary }) => `${id}: ${target.join(' ')}: ${failureSummary ?? ''}`),
    );
  }

  /** What a screen reader calls the element that has the focus; `… (text)` for a text field. */
  async focused(): Promise<string> {
    const frame = await this.frame();
    const name = await frame.evaluate(`(() => {
      let element = document.activeElement;
      while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
      const name = element?.getAttribute('aria-label') ?? element?.textContent?.trim() ?? '';
      return element?.matches('textarea, input') ? name + ' (text)' : name;
    })()`);
    return String(name);
  }

  /** Presses Tab, or Shift+Tab, until an element with this name has the focus. */
  async tabTo(name: string, back = false): Promise<void> {
    const passed: string[] = [];
    for (let step = 0; step < 60; step++) {
      const now = await this.focused();
      if (now === name) return;
      passed.push(now);
      await this.editor.page.keyboard.press(back ? 'Shift+Tab' : 'Tab');
    }
    throw new Error(`Tab does not reach ${name}, but ${passed.join(' | ')}`);
  }

  private async frame(): Promise<Frame> {
    const handle = await this.page.locator('html').elementHandle();
    const frame = await handle?.ownerFrame();
    if (frame === null || frame === undefined) throw new Error('the view has no frame');
    return frame;
  }
}
