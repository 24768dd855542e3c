/** What a person does and sees in one tab, in the words of the page. */

import { type BrowserContext, expect, type Locator, type Page } from '@playwright/test';
import type { Server } from './server.ts';

/** How far a message got, as the page says it. */
export type TickWords = 'Waiting to be sent' | 'Sent' | 'Delivered' | 'Read';

/** One tab. */
export class Tab {
  readonly page: Page;

  /** Takes over a page on which somebody is logged in. */
  constructor(page: Page) {
    this.page = page;
  }

  /** Opens the page in a browser without a log-in, and logs in by one click. */
  static async logIn(context: BrowserContext, server: Server, name: string): Promise<Tab> {
    const page = await context.newPage();
    await page.goto(server.url);
    await page.getByRole('button', { name, exact: true }).click();
    await expect(page.getByRole('heading', { name, exact: true })).toBeVisible();
    return new Tab(page);
  }

  /** Opens another tab of a browser in which somebody is logged in. */
  static async another(context: BrowserContext, server: Server): Promise<Tab> {
    const page = await context.newPage();
    await page.goto(server.url);
    await expect(page.getByRole('navigation', { name: 'Chats' })).toBeVisible();
    return new Tab(page);
  }

  /** Finds the line of the inbox for somebody. */
  line(name: string): Locator {
    return this.page.getByRole('navigation').getByRole('link', { name });
  }

  /**
   * Opens the chat with somebody, once its line shows the text `after` if that is given: the line of
   * who has just written moves, and a press that falls into that is lost.
   */
  async opens(name: string, after?: string): Promise<void> {
    if (after !== undefined) await expect(this.line(name)).toContainText(after);
    await this.line(name).click();
    await expect(this.field()).toBeVisible();
  }

  /** Finds the field in which one writes. */
  field(): Locator {
    return this.page.getByRole('textbox', { name: /^Message to / });
  }

  /** Writes and sends a message. */
  async says(text: string): Promise<void> {
    await this.field().fill(text);
    await this.field().press('Enter');
  }

  /** Finds the message with a text. */
  message(text: string): Locator {
    return this.page
      .getByRole('article')
      .filter({ has: this.page.getByText(text, { exact: true }) });
  }

  /** Lists the texts of the open chat from above. */
  texts(): Promise<string[]> {
    return this.page.getByRole('article').locator('.text').allTextContents();
  }

  /** Sees exactly these messages, in this order. */
  async sees(texts: readonly string[], timeout = 30_000): Promise<void> {
    await expect.poll(() => this.texts(), { timeout }).toEqual(texts);
  }

  /** Reads back to the first message, and sees exactly these in this order. */
  async seesAll(texts: readonly string[], timeout = 30_000): Promise<void> {
    const box = this.page.getByRole('region', { name: 'Messages' });
    const readBack = async () => {
      await box.evaluate((element) => {
        element.scrollTop = 0;
      });
      return this.texts();
    };
    await expect.poll(readBack, { timeout }).toEqual(texts);
    await box.evaluate((element) => {
      element.scrollTop = element.scrollHeight;
    });
  }

  /** Sees how far one's own message got. */
  async seesTick(text: string, tick: TickWords): Promise<void> {
    await expect(this.message(text).getByRole('img', { name: tick, exact: true })).toBeVisible();
  }

  /** Does something with a message by its menu. */
  async does(what: 'Reply' | 'Edit' | 'Delete', text: string): Promise<void> {
    const message = this.message(text);
    await message.hover();
    await message.getByRole('button', { name: 'What to do with this message' }).click();
    await this.page.getByRole('menuitem', { name: what }).click();
  }
}
