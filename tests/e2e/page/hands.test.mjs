// A person answers a visitor on the page; the access log and the backups as their owner meets them, in a real browser.
//
//   FRONTDESK_BIN=target/debug/frontdesk node --test tests/e2e/page/
//
// Pictures go to tests/e2e/artifacts/.

import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { Gateway, until } from '../webchat/harness.mjs';
import { PHONE, People, claim, logIn } from './harness.mjs';

const PASSPHRASE = 'four quiet words here';

let people;
let gateway;
let backups;

before(async () => {
  people = await People.launch('page');
  backups = mkdtempSync(path.join(tmpdir(), 'frontdesk-backups-'));
  gateway = await Gateway.start(`[backup]\nto = "${backups}"\npassphrase = "${PASSPHRASE}"\n`);
  await claim(gateway, await person());
});

after(async () => {
  await people?.close();
  await gateway?.stop();
  rmSync(backups, { recursive: true, force: true });
});

afterEach(() => people.leave());

const person = (options) => people.person(options);
const check = (page, name) => people.check(page, name);

async function loggedIn(options) {
  const page = await person(options);
  await logIn(gateway, page);
  return page;
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
