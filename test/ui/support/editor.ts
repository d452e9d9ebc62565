/** A person at the workbench: opens files, selects lines, uses menus, reads answers. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { type Browser, chromium, type Locator, type Page } from 'playwright-core';
import { PICTURES, type Workbench } from './workbench';

const CHROMIUM_FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
];

const PALETTE_TIMEOUT_MS = 10_000;
const MOST_TRIES = 4;

export function launchBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: '/usr/bin/chromium', args: CHROMIUM_FLAGS });
}

export class Editor {
  readonly page: Page;

  /** A new window on the workbench's folder (or on what `url` opens), when its extensions are up. */
  static async open(browser: Browser, workbench: Workbench, url = workbench.url): Promise<Editor> {
    const context = await browser.newContext({
      viewport: { width: 1280, height: 800 },
      permissions: ['clipboard-read', 'clipboard-write'],
    });
    const page = await context.newPage();
    await page.goto(url);
    await page.locator('.monaco-workbench').waitFor({ timeout: 60_000 });
    const editor = new Editor(page);
    await editor.statusItem.waitFor({ timeout: 60_000 });
    return editor;
  }

  private constructor(page: Page) {
    this.page = page;
  }

  async close(): Promise<void> {
    await this.page.context().close();
  }

  get statusItem(): Locator {
    return this.page.locator('.statusbar-item[id="flan-local.flan.flan.status"]');
  }

  async picture(name: string): Promise<void> {
    mkdirSync(PICTURES, { recursive: true });
    // Menus and pickers fade in.
    await this.page.waitForTimeout(300);
    await this.page.screenshot({ path: join(PICTURES, `${name}.png`) });
  }

  async openFile(name: string): Promise<void> {
    await this.page.locator('.explorer-folders-view .monaco-list-row', { hasText: name }).dblclick();
    await this.page.locator('.tab.active', { hasText: name }).waitFor();
    await this.page.locator('.editor-instance .view-line').first().waitFor();
  }

  /** Selects whole lines (1-based, inclusive), as dragging in the line numbers does: up to the start of the next line. */
  async selectLines(from: number, to: number): Promise<void> {
    await this.goToLine(from);
    await this.page.keyboard.press('Home');
    await this.page.keyboard.press('Home');
    for (let line = from; line <= to; line++) await this.page.keyboard.press('Shift+ArrowDown');
  }

  async goToLine(line: number): Promise<void> {
    // The text area must have the focus, not a reply box.
    await this.page.locator('.editor-group-container.active .monaco-editor').first().press('Control+g');
    const input = this.page.locator('.quick-input-widget input.input');
    await input.fill(`:${line}`);
    await input.press('Enter');
    await this.page.locator('.quick-input-widget').waitFor({ state: 'hidden' });
  }

  /** An entry of the menu that is open, which takes no click in its first 100 ms. */
  async choose(entry: string, picture?: string): Promise<void> {
    const item = this.page.locator('.monaco-menu .action-item a.action-menu-item', { hasText: entry }).first();
    await item.waitFor();
    await this.page.waitForTimeout(200);
    if (picture !== undefined) await this.picture(picture);
    await item.click();
    await item.waitFor({ state: 'detached' });
  }

  /** Right-click on the given text of the editor, then our submenu, then one of its entries. */
  async contextMenu(onText: string, entry: string, picture?: string): Promise<void> {
    await this.page
      .locator('.view-line', { hasText: onText })
      .first()
      .click({ button: 'right', position: { x: 60, y: 8 } });
    const menu = this.page.locator('.monaco-menu .action-item a.action-menu-item');
    await menu.filter({ hasText: /^Flan/ }).hover();
    const item = menu.filter({ hasText: entry });
    await item.waitFor();
    // A menu takes no click in its first 100 ms, so that the click that opened it chooses nothing.
    await this.page.waitForTimeout(200);
    if (picture !== undefined) await this.picture(picture);
    await item.click();
    await item.waitFor({ state: 'detached' });
  }

  async command(title: string): Promise<void> {
    const input = this.page.locator('.quick-input-widget input.input');
    for (let tries = 1; ; tries++) {
      await this.page.keyboard.press('F1');
      try {
        await input.fill(`>${title}`, { timeout: PALETTE_TIMEOUT_MS });
        // Not Enter: the first row may be a command used before whose title is only similar.
        const row = this.page.locator('.quick-input-list .monaco-list-row', { hasText: title });
        await row.first().click({ timeout: PALETTE_TIMEOUT_MS });
        return;
      } catch (error) {
        // The palette closes when something else takes the focus, such as an editor that was still being opened.
        if (tries === MOST_TRIES) throw error;
      }
    }
  }

  /** What the active editor shows of its text. */
  async text(): Promise<string> {
    const lines = await this.page.locator('.editor-group-container.active .view-line').allInnerTexts();
    return lines.join('\n').replaceAll('\u00a0', ' ');
  }

  get quickPick(): Locator {
    return this.page.locator('.quick-input-widget');
  }

  get quickPickRows(): Locator {
    return this.page.locator('.quick-input-list .monaco-list-row');
  }

  toast(text: string): Locator {
    return this.page.locator('.notification-toast .notification-list-item-message', { hasText: text });
  }

  async reload(): Promise<void> {
    await this.page.reload();
    await this.page.locator('.monaco-workbench').waitFor({ timeout: 60_000 });
    await this.statusItem.waitFor({ timeout: 60_000 });
  }

  async clearNotifications(): Promise<void> {
    await this.command('Notifications: Clear All Notifications');
    await this.page.locator('.notification-toast').first().waitFor({ state: 'detached' });
  }

  /** A notification, with its buttons. */
  notification(text: string | RegExp): Locator {
    return this.page.locator('.notification-toast', { hasText: text });
  }

  async pressInNotification(text: string | RegExp, button: string): Promise<void> {
    const toast = this.notification(text).first();
    await toast.waitFor({ timeout: 60_000 });
    await toast.hover();
    await toast.locator('.monaco-button', { hasText: button }).first().click();
  }

  get dialog(): Locator {
    return this.page.locator('.monaco-dialog-box');
  }

  async pressInDialog(button: string): Promise<void> {
    await this.dialog.locator('.monaco-button', { hasText: button }).first().click();
    await this.dialog.waitFor({ state: 'detached' });
  }

  /** Removes every thread and closes all editors. */
  async closeThreads(): Promise<void> {
    await this.page.keyboard.press('Escape');
    await this.command('Flan: Remove All Answers');
    await this.threads.root.first().waitFor({ state: 'detached' });
    await this.command('View: Close All Editors');
    await this.page.locator('.tab').first().waitFor({ state: 'detached' });
  }

  /** The thread widgets in the editor, in the order of the page. */
  get threads(): Thread {
    return new Thread(this.page.locator('.review-widget:not(.cell-comment-container)'));
  }

  thread(label: string): Thread {
    return new Thread(this.page.locator('.review-widget:not(.cell-comment-container)', { hasText: label }));
  }
}

/** One comment thread, as a reader sees it. */
export class Thread {
  readonly root: Locator;

  constructor(root: Locator) {
    this.root = root;
  }

  get comments(): Locator {
    return this.root.locator('.review-comment');
  }

  /** The words in the thread's title. */
  async title(): Promise<string> {
    return (await this.root.locator('.review-title .filename').allInnerTexts()).join().replaceAll('\u00a0', ' ').trim();
  }

  /** The paragraphs of a comment's text, -1: of the last one; the small print is left out. */
  async answer(index = -1): Promise<string> {
    const paragraphs = this.comments.nth(index).locator('.comment-body p:not(:has(small))');
    return (await paragraphs.allInnerTexts()).join('\n\n').trim();
  }

  async author(index = -1): Promise<string> {
    return (await this.comments.nth(index).locator('.author').allInnerTexts()).join();
  }

  /** What stands beside the author. */
  async label(index = -1): Promise<string> {
    return (await this.comments.nth(index).locator('.isPending').allInnerTexts()).join();
  }

  /** The small print of a comment. */
  async smallPrint(index = -1): Promise<string> {
    return (await this.comments.nth(index).locator('.comment-body small').allInnerTexts()).join('\n');
  }

  /** Whether the first words of an answer that is not complete are on the screen. */
  async isWriting(): Promise<boolean> {
    return (await this.comments.locator('.comment-body', { hasText: '▍' }).count()) > 0;
  }

  /** Waits for the end of what is being written. */
  async settled(): Promise<void> {
    const copy = this.action('Copy the Answer');
    await copy
      .or(this.comments.last().getByText(/No answer\.|Not finished\./))
      .first()
      .waitFor({ timeout: 60_000 });
  }

  /** A button of a comment. */
  action(title: string, index = -1): Locator {
    return this.comments.nth(index).locator(`.comment-actions a.action-label[aria-label^="${title}"]`);
  }

  /** An entry of the menu behind a comment's three dots. */
  async moreActions(entry: string, index = -1): Promise<void> {
    const comment = this.comments.nth(index);
    await comment.hover();
    await comment.locator('.comment-actions a.action-label.codicon-toolbar-more').click();
    const item = this.root.page().locator('.monaco-menu .action-item a.action-menu-item', { hasText: entry });
    await item.waitFor();
    await this.root.page().waitForTimeout(200);
    await item.click();
  }

  /** A button in the thread's title. */
  titleAction(title: string): Locator {
    return this.root.locator('.review-actions').locator(`a.action-label[aria-label^="${title}"]`);
  }

  async reply(text: string): Promise<void> {
    const collapsed = this.root.locator('.review-thread-reply-button');
    if (await collapsed.isVisible()) await collapsed.click();
    const box = this.root.locator('.comment-form .monaco-editor').last();
    await box.click();
    await this.root.page().keyboard.type(text);
    await this.root.locator('.form-actions .other-actions a.monaco-button').click();
  }
}
