// What the tests of the local page share: people with browsers, the way in, and what nobody may stumble over.

import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { launch } from '../webchat/harness.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ARTIFACTS = path.resolve(import.meta.dirname, '..', 'artifacts');
const TIMEOUT = 20_000;

export const OWNER = { name: 'Ada', password: 'violet kettle harbour 17' };
/** A phone at night in Germany. */
export const PHONE = { viewport: { width: 360, height: 740 }, colorScheme: 'dark', locale: 'de-DE' };

/** People, each with a browser of their own. Pictures of what they see are named `PREFIX-NAME.png`. */
export class People {
  #browser;
  #contexts = [];
  #prefix;

  static async launch(prefix) {
    const people = new People();
    people.#browser = await launch();
    people.#prefix = prefix;
    return people;
  }

  async person(options = {}) {
    const context = await this.#browser.newContext({ locale: 'en-US', viewport: { width: 1100, height: 800 }, ...options });
    context.setDefaultTimeout(TIMEOUT);
    this.#contexts.push(context);
    const page = await context.newPage();
    page.complaints = [];
    page.requests = [];
    page.on('pageerror', (error) => page.complaints.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error' && !/Failed to load resource|ERR_/.test(message.text())) page.complaints.push(message.text());
    });
    page.on('dialog', (dialog) => {
      page.complaints.push(`dialog: ${dialog.message()}`);
      dialog.dismiss();
    });
    page.on('request', (request) => page.requests.push(request.url()));
    return page;
  }

  /** What a screen reader's user would stumble over, what a phone cannot show, and anything that leaves the box. */
  async check(page, name) {
    mkdirSync(ARTIFACTS, { recursive: true });
    await page.screenshot({ path: path.join(ARTIFACTS, `${this.#prefix}-${name}.png`), fullPage: true });
    const found = await page.evaluate(`(() => { ${AXE}; return axe.run(document, { resultTypes: ['violations'] }); })()`);
    const violations = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
    assert.deepEqual(violations, [], name);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.ok(wide <= 0, `${name} is ${wide} px wider than the screen`);
    const { origin } = new URL(page.url());
    assert.deepEqual(page.requests.filter((url) => !url.startsWith(origin)), [], name);
    assert.deepEqual(page.complaints, [], name);
  }

  /** Everybody goes; others may come. */
  async leave() {
    for (const context of this.#contexts.splice(0)) await context.close();
  }

  async close() {
    await this.#browser.close();
  }
}

export const claimCode = (gateway) => readFileSync(path.join(gateway.home, 'claim.code'), 'utf8').trim();

async function enter(page, fields) {
  for (const [name, value] of Object.entries(fields)) await page.fill(`input[name=${name}]`, value);
  await Promise.all([page.waitForNavigation(), page.press('input[name=password]', 'Enter')]);
}

/** The owner takes the box. */
export async function claim(gateway, page) {
  await page.goto(`${gateway.origin}/admin/claim`);
  await enter(page, { code: claimCode(gateway), ...OWNER });
}

/** The owner comes in. */
export async function logIn(gateway, page) {
  await page.goto(`${gateway.origin}/admin/login`);
  await enter(page, OWNER);
}
