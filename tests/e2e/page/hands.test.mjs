// A person answers a visitor on the page; the access log and the backups as their owner meets them, in a real browser.
//
//   FRONTDESK_BIN=target/debug/frontdesk node --test tests/e2e/page/
//
// Pictures go to tests/e2e/artifacts/.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { Gateway, launch, until } from '../webchat/harness.mjs';

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
const ARTIFACTS = path.resolve(import.meta.dirname, '..', 'artifacts');
const OWNER = { name: 'Ada', password: 'violet kettle harbour 17' };
const PASSPHRASE = 'four quiet words here';
const PHONE = { viewport: { width: 360, height: 740 }, colorScheme: 'dark', locale: 'de-DE' };

let browser;
let gateway;
let backups;
const contexts = [];

before(async () => {
  browser = await launch();
  backups = mkdtempSync(path.join(tmpdir(), 'frontdesk-backups-'));
  gateway = await Gateway.start(`[backup]\nto = "${backups}"\npassphrase = "${PASSPHRASE}"\n`);
  const page = await person();
  await page.goto(`${gateway.origin}/admin/claim`);
  await page.fill('#code', readFileSync(path.join(gateway.home, 'claim.code'), 'utf8').trim());
  await page.fill('#name', OWNER.name);
  await page.fill('#password', OWNER.password);
  await Promise.all([page.waitForURL(`${gateway.origin}/admin/`), page.keyboard.press('Enter')]);
});

after(async () => {
  await browser?.close();
  await gateway?.stop();
  rmSync(backups, { recursive: true, force: true });
});

afterEach(async () => {
  for (const context of contexts.splice(0)) await context.close();
});

async function person(options = {}) {
  const context = await browser.newContext({ locale: 'en-US', viewport: { width: 1100, height: 800 }, ...options });
  context.setDefaultTimeout(20_000);
  contexts.push(context);
  const page = await context.newPage();
  page.complaints = [];
  page.on('pageerror', (error) => page.complaints.push(String(error)));
  page.on('console', (message) => {
    if (message.type() === 'error' && !/Failed to load resource|ERR_/.test(message.text())) page.complaints.push(message.text());
  });
  return page;
}

async function loggedIn(options) {
  const page = await person(options);
  await page.goto(`${gateway.origin}/admin/login`);
  await page.fill('input[name=name]', OWNER.name);
  await page.fill('input[name=password]', OWNER.password);
  await page.press('input[name=password]', 'Enter');
  await page.waitForURL(`${gateway.origin}/admin/`);
  return page;
}

async function check(page, name) {
  mkdirSync(ARTIFACTS, { recursive: true });
  await page.screenshot({ path: path.join(ARTIFACTS, `page-${name}.png`), fullPage: true });
  const found = await page.evaluate(`(() => { ${AXE}; return axe.run(document, { resultTypes: ['violations'] }); })()`);
  const violations = found.violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(' ')}`);
  assert.deepEqual(violations, [], name);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${name} is ${wide} px wider than the screen`);
  assert.deepEqual(page.complaints, [], name);
}

async function writes(visitor, text) {
  await visitor.getByRole('textbox', { name: 'Message' }).fill(text);
  await visitor.getByRole('button', { name: 'Send' }).click();
}

describe('people and the page', { concurrency: false }, () => {
  test('the owner answers a visitor, with the keyboard alone, and hands back', async () => {
    const visitor = await person();
    await visitor.goto(gateway.page);
    await writes(visitor, 'Do you have parking?');
    await visitor.locator('.line.agent').first().waitFor();

    const page = await loggedIn();
    await page.goto(`${gateway.origin}/admin/conversations`);
    await page.locator('.rows a').first().click();
    await page.getByRole('button', { name: 'Answer yourself' }).focus();
    await page.keyboard.press('Enter');
    await page.getByText('You answer here.').waitFor();
    await check(page, 'taken');

    const answered = await visitor.locator('.line.agent').count();
    await writes(visitor, 'And for how long?');
    // It shows up while the page stays open.
    await page.locator('.log').getByText('And for how long?', { exact: true }).waitFor();
    await page.getByRole('textbox', { name: 'Your answer' }).fill('As long as you are here.\nIt is free.');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByText('Sent.').waitFor();
    await visitor.locator('.line.agent').nth(answered).getByText('It is free.').waitFor();
    assert.equal(await visitor.locator('.line.agent').count(), answered + 1, 'the worker is silent');
    await until(async () => !/typing/.test(await visitor.locator('body').innerText()), 'nobody seems to be typing');
    await check(page, 'said');

    const phone = await loggedIn(PHONE);
    await phone.goto(page.url().replace(/&done=.*/, ''));
    await check(phone, 'taken-phone-dark-german');
    await phone.goto(`${gateway.origin}/admin/`);
    await check(phone, 'home-taken-phone-dark-german');

    await page.getByRole('button', { name: 'Hand back to the worker' }).click();
    await page.getByText('The worker answers again.').waitFor();
    await writes(visitor, 'Thank you!');
    await visitor.locator('.line.agent').nth(answered + 1).waitFor();
  });

  test('the access log says who did what', async () => {
    const page = await loggedIn();
    await page.getByRole('link', { name: 'Access log' }).click();
    await page.locator('tbody tr').filter({ hasText: 'Took a conversation over' }).first().waitFor();
    await check(page, 'access');
    await page.getByLabel('What').selectOption('say');
    await page.getByRole('button', { name: 'Show' }).click();
    await page.waitForURL(/what=say/);
    assert.equal(await page.locator('tbody tr').count(), 1);
    const phone = await loggedIn(PHONE);
    await phone.goto(`${gateway.origin}/admin/access`);
    await check(phone, 'access-phone-dark-german');
  });

  test('a backup is made, checked and taken out', async () => {
    const page = await loggedIn();
    await page.getByRole('link', { name: 'Backups' }).click();
    await check(page, 'backups-none');
    await page.getByRole('button', { name: 'Back up now' }).click();
    await page.getByText('Read back when it was made').waitFor();
    await page.getByRole('button', { name: /^Check: / }).first().click();
    await page.getByText('Whole', { exact: true }).waitFor();
    await page.getByLabel('Passphrase of the backups').fill(PASSPHRASE);
    await page.getByRole('button', { name: 'Compare' }).click();
    await page.getByText('That is the one.').waitFor();
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page.getByRole('link', { name: /^Download: / }).first().click(),
    ]);
    assert.match(readFileSync(await download.path(), 'latin1').slice(0, 30), /^age-encryption\.org\/v1/);
    await check(page, 'backups');
    const phone = await loggedIn(PHONE);
    await phone.goto(`${gateway.origin}/admin/backups`);
    await check(phone, 'backups-phone-dark-german');
  });
});
